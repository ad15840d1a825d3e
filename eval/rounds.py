"""The rounds of run_online.sh as a table and a curve: reward, length, KL to the start, and what the truth says.

    python -m eval.rounds --folder models/online --rounds 4

Writes rounds.md, rounds.json and rounds.png into the folder. A row is a model: `start`, then that of each round. What
its samples in the next round were worth stands beside what its answers to the prompts of EVAL are.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from training.utils.config.flags import flag, require
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.files.fingerprint import files_fingerprint
from training.utils.picture import drawn
from training.utils.process.command import run_command

MOST_TRUTHS = 4  # figures of a benchmark that are shown
NAMES = {
    "records": "learned from",
    "sampled_reward": "reward of samples",
    "sampled_words": "words of samples",
    "reward": "reward",
    "kl": "KL to start, nats",
    "words": "words",
}


@dataclass(frozen=True)
class RoundsConfig:
    folder: str = flag(help="Output folder of run_online.sh.", writes="folder")
    rounds: int = flag(1, "Rounds that are done.")

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"--rounds {self.rounds}: expected 1 or more")


@dataclass
class Figure:
    value: float
    interval: tuple[float, float] | None = None  # of 95 %


@dataclass
class Row:
    name: str
    figures: dict[str, Figure] = field(default_factory=dict)


def read_rows(folder: Path, rounds: int) -> list[Row]:
    """A row for the start and for each round."""
    rows = []
    for number in range(rounds + 1):
        row = Row(f"round {number}" if number else "start")
        if number:
            learned = summary(folder, number)
            row.figures["records"] = Figure(learned["records"])
        if (folder / f"round-{number + 1}" / "train.summary.json").is_file():
            of_samples = summary(folder, number + 1)
            row.figures["sampled_reward"] = Figure(of_samples["score_of_all"])
            row.figures["sampled_words"] = Figure(of_samples["words_of_all"])
        row.figures |= measured(folder / f"round-{number}" / "model" if number else folder / "start")
        rows.append(row)
    return rows


def summary(folder: Path, number: int) -> dict[str, Any]:
    """What training.online.pair says of a round.

    Raises:
        DataError: it has not come so far.
    """
    file = folder / f"round-{number}" / "train.summary.json"
    return read_json(file, "records", "score_of_all", "words_of_all")


def measured(folder: Path) -> dict[str, Figure]:
    """What eval.drift and eval.score say of a model; nothing where it was not measured, or the score is of
    others than the answers there."""
    found: dict[str, Figure] = {}
    if (folder / "drift.json").is_file():
        drift = read_json(folder / "drift.json", "kl")
        for name in ("reward", "kl"):
            if name in drift:
                mean, error = drift[name]["mean"], drift[name]["standard_error"]
                limits = (mean - 1.96 * error, mean + 1.96 * error) if error is not None else None
                found[name] = Figure(mean, limits)
        answers = [text for line in jsonl.read(folder / "drift.jsonl") for text in line["responses"]]
        found["words"] = Figure(fmean(len(text.split()) for text in answers))
    if (folder / "truth.json").is_file():
        truth = read_json(folder / "truth.json", "bench", "metrics")
        if not is_of(truth, folder / "drift.jsonl"):
            print(f"{folder / 'truth.json'}: is of other answers than drift.jsonl; left out, score them anew")
            return found
        names = [name for name in truth["metrics"] if name != "words"][:MOST_TRUTHS]
        for name in names:
            limits = truth.get("intervals", {}).get(name)
            found[f"{truth['bench']} {name}"] = Figure(truth["metrics"][name], limits and tuple(limits))
    return found


def is_of(score: dict[str, Any], answers: Path) -> bool:
    """Whether a score of eval.score is of these answers."""
    return answers.is_file() and score.get("predictions", {}).get("digest") == files_fingerprint(answers)


def markdown(rows: list[Row]) -> str:
    """A column for each figure that some row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row.figures))
    columns.sort(key=lambda name: list(NAMES).index(name) if name in NAMES else len(NAMES))
    lines = [["model", *(NAMES.get(name, name) for name in columns)], ["---"] * (len(columns) + 1)]
    lines += [[row.name, *(written(row.figures.get(name)) for name in columns)] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def written(figure: Figure | None) -> str:
    if figure is None:
        return ""
    limits = f" [{figure.interval[0]:.3g}, {figure.interval[1]:.3g}]" if figure.interval else ""
    return f"{figure.value:.4g}{limits}"


def draw(rows: list[Row], picture: Path) -> None:
    """A small curve for each figure but counts, with its intervals."""
    names = list(dict.fromkeys(name for row in rows for name in row.figures if name != "records"))
    with drawn(picture, 1, len(names), figsize=(3 * len(names), 2.6), squeeze=False) as axes:
        for axis, name in zip(axes[0], names, strict=True):
            points = [(x, row.figures[name]) for x, row in enumerate(rows) if name in row.figures]
            places, values = [x for x, _ in points], [figure.value for _, figure in points]
            axis.plot(places, values, "o-")
            for x, figure in points:
                if figure.interval:
                    axis.vlines(x, *figure.interval, alpha=0.5)
            axis.set_title(NAMES.get(name, name), fontsize=9)
            axis.set_xlabel("round")
            axis.set_xticks(range(len(rows)))
            axis.grid(alpha=0.3)


def main(config: RoundsConfig) -> None:
    folder = Path(config.folder)
    if not (folder / "round-1").is_dir():
        raise DataError(f"--folder {folder}: holds no round-1; expected the output folder of run_online.sh")
    rows = read_rows(folder, config.rounds)
    found = [{"model": row.name} | {name: f.value for name, f in row.figures.items()} for row in rows]
    (folder / "rounds.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "rounds.md").write_text(markdown(rows) + "\n")
    draw(rows, folder / "rounds.png")
    print(markdown(rows))


if __name__ == "__main__":
    run_command(main, RoundsConfig)
