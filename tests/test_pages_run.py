"""The commands of the pages run as they are printed, on tiny models and a few records."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT, picture
from tests.tiny_families import write_parts

PAGES = (
    "README",
    "docs/sft",
    "docs/reward_model",
    "docs/dpo",
    "docs/ppo",
    "docs/online",
    "docs/rewards",
    "docs/distill",
    "docs/predict",
    "docs/gpus",
    "docs/models",
)
ELSEWHERE = {  # commands that take minutes or need what is not there, and which test has them
    "bash scripts/demo.sh": "test_scripts.py",
    "bash scripts/demo.sh --quick": "test_scripts.py has all of its stages and more",
    "bash scripts/seeds.sh": "the same, once for each seed",
    "bash scripts/test.sh": "it runs this test",
    "bash scripts/real_parts.sh": "needs packages with weights",
    "bash scripts/gpu_check.sh": "needs a GPU",
    "bash scripts/bench_trl.sh": "test_bench_trl.py: it fetches TRL, and takes minutes",
    "bash scripts/rehearse.sh dpo llava-1.5 7b": "test_rehearsal.py",
    "TEXT=text.json CAPTIONED=captioned.json VISUAL=pairs.json MODEL=models/sft bash scripts/rovrm.sh": "minutes",
    "CRITIC_ZERO_STAGE=2 bash run_ppo_training.sh --lang_lora_dim 64 --only_optimize_lora --share_backbone": (
        "stages/test_backbone.py: its reward model was trained by adapters"
    ),
    "MODEL=models/dpo BENCH_DIR=benchmarks bash scripts/eval_all.sh": "eval/test_eval_all.py",
    "MODEL=models/sft REWARD_MODEL=models/reward_model DATA=my_prompts.json ROUNDS=2 OUTPUT=models/online "
    "bash run_online.sh": "online/test_run_online.py: a tiny model ends no answer by itself",
    "bash run_online.sh --loss_type sigmoid sft": "the same",
    "bash scripts/demo_online.sh": "minutes a seed; demo/test_online.py has its table",
    "python -m data.check --data_path models/online/round-1/train.jsonl": "the same",
}
MOST_S = 300  # of a command: one that takes longer belongs above
SETTINGS = {  # from outside, as a user may: a tiny model does not end its answers by itself
    "MAX_RESPONSE_LEN": "3",
    "EPOCHS": "1",
    "OMP_NUM_THREADS": "1",
}


def commands(page: str) -> list[str]:
    """What a page prints: lines of its blocks for bash, and in its text whatever starts a script or a module."""
    text = (ROOT / f"{page}.md").read_text()
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", "").splitlines()]
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = [*lines, *re.findall(r"`([^`\n]*(?:bash (?:run_|scripts/)|python -m )[^`\n]*)`", text)]
    return [" ".join(line.split("#")[0].split()) for line in found]


@pytest.fixture(scope="module")
def checkout(tiny_llava, tmp_path_factory):
    """The project with a user's files, by the names that the pages have for them."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if path.name not in ("models", "docs", "tests") and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    (folder / "my_images").mkdir()
    records, pairs = [], []
    for number in range(8):
        picture(number).save(folder / "my_images" / f"{number}.png")
        picture(number).save(folder / f"{number}.png")
        asked = {"from": "human", "value": f"<image>\nWhat is in picture {number}?"}
        record = {"id": str(number), "image": f"{number}.png", "label": "A circle."}
        records.append(record | {"conversations": [asked, {"from": "gpt", "value": f"A circle, {number}."}]})
        answers = {"from": "gpt", "value": [f"A circle, {number}.", f"Two stars and {number}."]}
        pairs.append(record | {"conversations": [asked, answers]})
    for name in ("my_sft", "my_prompts", "my_questions", "captions"):
        (folder / f"{name}.json").write_text(json.dumps(records))
    (folder / "my_pairs.json").write_text(json.dumps(pairs))
    of_aspects = [one | {"aspect": ("helpful", "truthful")[n % 2]} for n, one in enumerate(pairs)]
    (folder / "my_aspects.json").write_text(json.dumps(of_aspects))
    for name in ("LLAVA", "MODEL"):
        (folder / name).symlink_to(tiny_llava)
    (folder / "OLD").mkdir()
    torch.save(load_file(tiny_llava / "model.safetensors"), folder / "OLD" / "pytorch_model.bin")
    lm, clip = write_parts(tmp_path_factory.mktemp("parts"))
    (folder / "my-llama").symlink_to(lm)
    (folder / "my-clip").symlink_to(clip)
    question = {"question_id": 1, "image": "0.png", "text": "Is there a cat in the image?", "label": "yes"}
    (folder / "coco_pope_random.json").write_text(json.dumps(question) + "\n")
    (folder / "val2014").symlink_to(folder / "my_images")
    return folder


def run(command: str, folder: Path, path: str) -> None:
    """A line of a page in a shell."""
    environment = {**os.environ, **SETTINGS, "VIRTUAL_ENV": sys.prefix, "PATH": path}
    done = subprocess.run(
        ["timeout", f"{MOST_S}", "bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_every_command_of_a_page_runs_as_printed(checkout, tiny_llava, warm_path):
    """In the order of the pages: a page may take the models of those before it, and writes its own outputs anew."""
    ran: set[str] = set()
    for page in PAGES:
        for command in commands(page):
            if command in ran | ELSEWHERE.keys():
                continue
            output = re.search(r"OUTPUT=(\S+)", command)
            shutil.rmtree(checkout / (output[1] if output else "models/predictions"), ignore_errors=True)
            if "eval.report" in command:
                for name in ("sft", "dpo"):
                    run(
                        "python -m eval.score --bench exact_match --truth my_questions.json --predictions "
                        f"models/answers/predictions.jsonl --output scores/{name}/exact_match.score.json",
                        checkout,
                        warm_path,
                    )
            run(command.replace("/path/to/llava-1.5-7b-hf", str(tiny_llava)), checkout, warm_path)
            ran.add(command)
    assert len(ran) >= 18
    assert ELSEWHERE.keys() <= {command for page in PAGES for command in commands(page)}
    for made in (
        "models/ppo/latest",
        "models/answers/predictions.jsonl",
        "check.html",
        "report.html",
        "drift.json",
    ):
        assert (Path(checkout) / made).is_file(), made
