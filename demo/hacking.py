"""What a flawed reward model does to the truth: score, hallucination rate and Cover against KL.

python -m demo.hacking --runs models/demo-quick/hacking --truth models/demo-quick/world --output models/hacking.md

`scripts/hacking.sh` makes the runs. The score is in standard deviations of the SFT model's samples above their mean.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, pstdev

from demo.table import row
from eval.benches import descriptions
from eval.best_of_n import curve
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.picture import drawn
from training.utils.process.command import run_command

DRIFT = re.compile(r"^drift-(\d+)\.json$")
WINDOW = 5  # steps of policy optimisation that make a point
PANELS = {  # what is compared: title, and the runs by their names in the picture
    "sound": ("trained on the truth", ("best_of_n", "dpo", "ppo", "grpo")),
    "length": ("fond of length", ("best_of_n", "dpo", "ppo", "grpo")),
    "blind": ("blind", ("best_of_n", "dpo", "ppo", "grpo")),
    "held": ("fond of length, PPO held back", ("ppo", "kl_coef", "kl_target", "stop_at_kl", "ensemble")),
}
FOLDER = {"held": "length"}
LOOKS = {  # of Okabe and Ito's colours, which colour-blind readers tell apart
    "best_of_n": ("best of n", "#000000", "o"),
    "dpo": ("DPO", "#009E73", "s"),
    "ppo": ("PPO", "#0072B2", "^"),
    "grpo": ("GRPO", "#D55E00", "D"),
    "kl_coef": ("--kl_coef 0.1", "#009E73", "s"),
    "kl_target": ("--kl_target 1", "#D55E00", "D"),
    "stop_at_kl": ("--stop_at_kl 0.002", "#CC79A7", "v"),
    "ensemble": ("the least of three", "#000000", "o"),
}
ROWS = {"score": "score, s.d.", "hal": "hallucination rate, %", "cover": "Cover, %"}


@dataclass(frozen=True)
class HackingConfig:
    runs: str = field(metadata={"help": "Output folder of scripts/hacking.sh."})
    truth: str = field(metadata={"help": "Folder of the world."})
    output: str = flag(
        help="Markdown file to write; a picture of the same name comes beside it.", writes="file"
    )


@dataclass(frozen=True)
class Point:
    kl: float  # nats an answer
    score: float
    hal: float
    cover: float


class Truth:
    """What is in the pictures of a world."""

    def __init__(self, world: Path) -> None:
        questions = descriptions.load([world / f"truth_{split}.json" for split in ("train", "test")])
        self.scenes = {question.id: question.truth for question in questions}

    def rates(self, name: str, text: str) -> tuple[float, float]:
        """100 where an answer names what is not there, and the percent of what is there that it names."""
        found = descriptions.named(text, self.scenes[name])
        return 100.0 * bool(found["invented"]), 100 * len(found["covered"]) / found["num_objects"]

    def point(
        self, kl: Sequence[float], scores: Sequence[float], answers: Sequence[tuple[str, str]]
    ) -> Point:
        """
        Args:
            answers: (id of the scene, text).
        """
        rates = zip(*(self.rates(*answer) for answer in answers), strict=True)
        return Point(fmean(kl), fmean(scores), *map(fmean, rates))


def of_rollouts(file: Path, truth: Truth) -> list[Point]:
    """What policy optimisation sampled, some steps together."""
    windows = defaultdict(list)
    for line in jsonl.read(file):
        windows[(line["step"] - 1) // WINDOW].append(line)
    return [
        truth.point(
            [kl for line in lines for kl in line["kl"]],
            [score for line in lines for score in line["scores"]],
            [(line["id"], text) for line in lines for text in line["responses"]],
        )
        for _, lines in sorted(windows.items())
    ]


def of_drifts(folder: Path, truth: Truth) -> list[Point]:
    """What checkpoints sample: `drift-STEP.json` of eval.drift, and its answers beside it."""
    points = []
    files = {int(step[0]): path for path in folder.glob("*") if (step := DRIFT.findall(path.name))}
    for _, file in sorted(files.items()):
        found = read_json(file, "kl", "reward")
        answers = [
            (line["id"], text)
            for line in jsonl.read(file.with_suffix(".jsonl"))
            for text in line["responses"]
        ]
        points.append(truth.point([found["kl"]["mean"]], [found["reward"]["mean"]], answers))
    return points


def of_best(lines: Sequence[Mapping], truth: Truth) -> list[Point]:
    """The best of n samples of the SFT model by the reward model, for each n; KL is its upper bound."""
    scores = [line["scores"] for line in lines]
    rates = [[truth.rates(line["id"], text) for text in line["responses"]] for line in lines]
    hals, covers = ([[rate[kind] for rate in of_line] for of_line in rates] for kind in (0, 1))
    curves = zip(curve(scores), curve(scores, hals), curve(scores, covers), strict=True)
    return [Point(score["kl"], score["best"], hal["best"], cover["best"]) for score, hal, cover in curves]


def points_of(folder: Path, name: str, truth: Truth) -> list[Point]:
    """The curve of a run, its scores in standard deviations of what they are at the start."""
    lines = jsonl.read(folder / "best_of_n.jsonl")
    start = [score for line in lines for score in line["scores"]]
    if name == "best_of_n":
        points = of_best(lines, truth)
    elif (rollouts := folder / name / "rollouts.jsonl").is_file():
        points = of_rollouts(rollouts, truth)
        if name == "ensemble":  # the least of several has another scale than the one
            start = [score for line in jsonl.read(rollouts) if line["step"] == 1 for score in line["scores"]]
    else:
        points = of_drifts(folder / name, truth)
    middle, spread = fmean(start), pstdev(start) or 1.0
    return [Point(p.kl, (p.score - middle) / spread, p.hal, p.cover) for p in points]


def curves(runs: Path, truth: Truth) -> Iterator[tuple[str, str, list[Point]]]:
    """(panel, run, points) of all runs that are there."""
    for panel, (_, names) in PANELS.items():
        folder = runs / FOLDER.get(panel, panel)
        for name in names:
            if (folder / "best_of_n.jsonl").is_file() and (points := points_of(folder, name, truth)):
                yield panel, name, points


def draw(found: Sequence[tuple[str, str, list[Point]]], picture: Path) -> None:
    panels = dict.fromkeys(panel for panel, _, _ in found)
    share = {"sharex": "col", "sharey": "row", "squeeze": False}
    with drawn(picture, len(ROWS), len(panels), figsize=(1 + 3 * len(panels), 8), **share) as axes:
        for column, panel in enumerate(panels):
            for place, (key, label) in enumerate(ROWS.items()):
                axis = axes[place][column]
                for where, name, points in found:
                    if where == panel:
                        text, colour, marker = LOOKS[name]
                        xs, ys = [p.kl for p in points], [getattr(p, key) for p in points]
                        axis.plot(xs, ys, color=colour, marker=marker, ms=3.5, lw=1.2, alpha=0.85, label=text)
                axis.set_xscale("symlog", linthresh=0.1)
                axis.grid(alpha=0.3)
                if not column:
                    axis.set_ylabel(label)
            axes[0][column].set_title(PANELS[panel][0], fontsize=10)
            axes[0][column].legend(fontsize=7, frameon=False)
            axes[-1][column].set_xlabel("KL to the SFT model, nats an answer")


def table(found: Sequence[tuple[str, str, list[Point]]]) -> str:
    """The end of each run."""
    head = ("reward model", "followed by", "KL, nats", "score, s.d.", "Hal %", "Cover %")
    lines = [row(*head), row(*["---"] * len(head))]
    for panel, name, points in found:
        end = points[-1]
        cells = (f"{end.kl:.2f}", f"{end.score:+.2f}", f"{end.hal:.1f}", f"{end.cover:.1f}")
        lines.append(row(PANELS[panel][0], LOOKS[name][0], *cells))
    return "\n".join(lines)


def main(config: HackingConfig) -> None:
    found = list(curves(Path(config.runs), Truth(Path(config.truth))))
    if not found:
        raise DataError(f"--runs {config.runs}: holds no */best_of_n.jsonl of scripts/hacking.sh")
    text = table(found)
    Path(config.output).write_text(text + "\n")
    draw(found, Path(config.output).with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    run_command(main, HackingConfig)
