"""The flags of `eval.judge`, and what is wrong with them."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from eval.judges import EndpointConfig
from training.utils.config.flags import flag
from training.utils.data.record import DataError

BENCHES = ("mmhal", "llava_bench", "refomb", "win_rate")
JUDGES = ("endpoint", "replay", "reward_model")
PARSERS = ("official", "strict")
OFFICIAL = {  # settings of the official judges; else 0 and 1,024
    "llava_bench": {"judge_temperature": 0.2},
    "refomb": {"judge_temperature": 1e-5, "judge_max_tokens": 2048},
}


@dataclass(frozen=True)
class JudgeConfig:
    bench: str = field(metadata={"help": f"One of {', '.join(BENCHES)}."})
    predictions: str = field(
        metadata={"help": "JSON Lines of eval/predict.py, or scores for a reward model."}
    )
    judge: str = field(
        metadata={"help": "endpoint, replay (--judge_replies alone) or reward_model (win_rate alone)."}
    )
    truth: str = field(
        default="",
        metadata={
            "help": "mmhal: the official template; llava_bench: folder of the official files; refomb: GPT-4V's "
            "answers; win_rate: may be left out, or JSON of `id` and `context`, what is known of the picture."
        },
    )
    baseline: str = field(
        default="", metadata={"help": "win_rate: predictions or scores of the other model."}
    )
    best: bool = field(
        default=False,
        metadata={"help": "Judge `response`, the best of the samples, alone; else each sample."},
    )
    judge_prompt: str = field(
        default="",
        metadata={
            "help": "Official prompt: text with four {} (mmhal, refomb), rule.json (llava_bench); win_rate has its "
            "own."
        },
    )
    judge_trust_prompt: str = field(
        default="",
        metadata={"help": "refomb: second prompt, with one {} for the first reply; without it no `trust`."},
    )
    judge_system: str = field(
        default="", metadata={"help": "llava_bench, refomb: the official system message."}
    )
    swap: bool = field(
        default=False, metadata={"help": "llava_bench: show the reference second (not official)."}
    )
    judge_images: bool = field(
        default=False,
        metadata={
            "help": "Show the judge the pictures; it has to be a vision model, and each picture costs tokens. Not "
            "official for mmhal, llava_bench and refomb."
        },
    )
    judge_image_side: int = field(
        default=0,
        metadata={
            "help": "Longest side of a picture for the judge, in pixels; 0: as it is. Smaller costs less."
        },
    )
    data_path: str = field(
        default="",
        metadata={
            "help": "What was answered, where its pictures are found; none: --truth. win_rate needs it."
        },
    )
    data_bench: str = field(
        default="",
        metadata={"help": "win_rate: the benchmark whose official files --data_path is; none: a data file."},
    )
    image_folder: str = field(
        default="", metadata={"help": "Where paths of pictures start; none: the folder of the data."}
    )
    judge_replies: str = flag(
        "", "JSON Lines of replies; default: beside --output, or else --predictions.", writes="file"
    )
    parser: str = field(
        default="official",
        metadata={"help": "mmhal, llava_bench: official, or strict, which reads a rating in any wording."},
    )
    output: str = flag("", "JSON file to write; none: only print.", writes="file")

    def check(self) -> None:
        """
        Raises:
            DataError: a flag means nothing, is missing, or names no file.
        """
        for name, known in (("bench", BENCHES), ("judge", JUDGES), ("parser", PARSERS)):
            if getattr(self, name) not in known:
                raise DataError(
                    f"--{name} {getattr(self, name)}: unknown; expected one of {', '.join(known)}"
                )
        if self.judge == "reward_model" and self.bench != "win_rate":
            raise DataError("--judge reward_model: gives numbers, no texts; expected --bench win_rate")
        needed = ("baseline",) if self.bench == "win_rate" else ("truth", "judge_prompt")
        if self.judge_images and self.bench == "win_rate":
            needed = (*needed, "data_path")
        for name in needed:
            if not getattr(self, name):
                raise DataError(f"--{name}: needed by --bench {self.bench}; see --help")
        for name in ("predictions", "truth", "baseline", "judge_prompt", "judge_trust_prompt", "data_path"):
            if (path := getattr(self, name)) and not Path(path).exists():
                raise DataError(f"--{name} {path}: no such file")


def with_official(asked: EndpointConfig, bench: str) -> EndpointConfig:
    """What was not asked for, as the benchmark's official script has it."""
    official = OFFICIAL.get(bench, {})
    return replace(asked, **{name: value for name, value in official.items() if getattr(asked, name) is None})
