"""What is killed: every stage, predictions and a judge, each for some seconds; and what has to come out equal."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from safetensors.torch import load_file

from demo.model import TinyConfig, build_tiny_llava

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
SHAPES = {"patch_px": 8, "picture_px": 32, "vision_size": 32, "vision_layers": 2, "hidden_size": 48}
QUESTIONS, REPLY_S = 24, 0.05
TIMES = ("_s", "_gib", "_share", "data_wait")  # what a log holds that no two runs share


def num_characters(record, responses):
    """A reward for PPO."""
    return [len(text) for text in responses]


@dataclass(frozen=True)
class Case:
    name: str
    module: str
    flags: Sequence[str]  # besides the output
    processes: int = 1
    output_flag: str = "--output_dir"
    file: str = ""  # that the command writes into the output folder; none: the folder itself

    def command(self, folder: Path) -> list[str]:
        return [*self.flags, self.output_flag, str(folder / self.file)]


def write_model(folder: Path) -> Path:
    build_tiny_llava(
        TinyConfig(output=str(folder), texts=str(SAMPLES), vocab_size=400, num_layers=2, **SHAPES)
    )
    return folder


def flags_of(**settings: object) -> list[str]:
    """Command line of these flags; True is a flag without a value."""
    words = []
    for name, value in settings.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def training_flags(stage: str, model: Path, steps: int, **more: object) -> list[str]:
    data = {"sft": "sft", "rm": "reward", "dpo": "reward", "ppo": "ppo"}[stage]
    settings = {"from_checkpoint": model, "data_path": SAMPLES / f"{data}.json", "max_steps": steps}
    settings |= {"max_seq_len": 256, "precision": "fp32", "learning_rate": 1e-3, "lang_decoder_update": True}
    settings |= {"per_device_train_batch_size": 2, "resume": "auto", "save_step": 1, "save_total_limit": 2}
    if stage == "ppo":
        settings |= {"reward_functions": "scripts.storm.cases:num_characters", "num_generations": 2}
        settings |= {"max_generation_length_of_sampling": 6, "actor_learning_rate": 1e-3}
        settings |= {"critic_init": "policy"}
    return flags_of(**settings | more)


MODULES = {
    "sft": "training.sft.train_sft",
    "rm": "training.reward_model.train_rm",
    "dpo": "training.dpo.train_dpo",
    "ppo": "training.ppo.train_ppo",
}


def cases(model: Path, folder: Path, judge_url: str, steps: int) -> list[Case]:
    found = []
    for processes in (1, 2):
        for stage, module in MODULES.items():
            more = {"zero_stage": 2} if processes > 1 else {}
            flags = training_flags(stage, model, steps, **more)
            found.append(Case(stage, module, flags, processes))
        flags = flags_of(from_checkpoint=model, data_path=SAMPLES / "predict.json", precision="fp32")
        flags += flags_of(batch_size=4, max_new_tokens=8, temperature=1.0, max_seq_len=256)
        found.append(Case("predict", "eval.predict", flags, processes, "--output_path", "answers.jsonl"))
    ours, theirs = write_answers(folder / "ours.jsonl", "A"), write_answers(folder / "theirs.jsonl", "The")
    flags = flags_of(bench="win_rate", judge="endpoint", predictions=ours, baseline=theirs)
    flags += flags_of(judge_url=judge_url, judge_model="storm", judge_concurrency=2)
    return [*found, Case("judge", "eval.judge", flags, 1, "--output", "scores.json")]


def write_answers(file: Path, word: str) -> Path:
    lines = [
        {"id": str(number), "prompt": f"What is picture {number}?", "response": f"{word} thing {number}."}
        for number in range(QUESTIONS)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


class Judge(BaseHTTPRequestHandler):
    """An endpoint whose reply follows from the question."""

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(REPLY_S)
        said = f"Reasons.\n[[{'AB'[hashlib.sha256(asked).digest()[0] % 2]}]]"
        reply = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


def serve_judge() -> tuple[str, int]:
    """Address of an endpoint, and the process that answers there."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    if not (process := os.fork()):
        server.serve_forever()
    server.server_close()
    return f"http://127.0.0.1:{server.server_port}/v1", process


def differences(case: Case, one: Path, other: Path) -> list[str]:
    """What of two runs of a case is not equal, bit for bit; times are left out."""
    if case.file:
        return [] if _content(one / case.file) == _content(other / case.file) else [case.file]
    newest = [folder / (folder / "latest").read_text().strip() for folder in (one, other)]
    found = [] if newest[0].name == newest[1].name else ["latest"]
    for name in ("model.safetensors", "value_head.safetensors"):
        tensors = [load_file(folder / name) if (folder / name).is_file() else {} for folder in newest]
        same = tensors[0].keys() == tensors[1].keys() and all(
            tensor.equal(tensors[1][key]) for key, tensor in tensors[0].items()
        )
        found += [] if same else [name]
    for name in ("log.jsonl", "rollouts.jsonl"):
        if _lines(one / name) != _lines(other / name):
            found.append(name)
    return found


def _lines(file: Path) -> list[dict]:
    if not file.is_file():
        return []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [{k: v for k, v in line.items() if not k.endswith(TIMES)} for line in lines]


def _content(file: Path) -> object:
    if file.suffix == ".jsonl":
        return file.read_bytes()
    return json.loads(file.read_text()) | {"versions": None}
