"""What a recipe's paper reports beside what came out here, as a table.

    python -m eval.expected --rows "VL-RewardBench, %=73.1=models/skywork/score.json:accuracy" --output table.md

A row is a name, the published figure (`-` where there is none) and where the figure of this run is: a JSON file of
eval.score, eval.drift or eval.rounds, and behind a colon its name there, with dots between names inside each other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.tables import number
from training.utils.config.flags import flag, require
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.process.command import run_command


@dataclass(frozen=True)
class ExpectedConfig:
    rows: list[str] = flag(help="NAME=PUBLISHED=FILE:FIGURE for each figure.")
    output: str = flag(help="Markdown file to write.", writes="file")
    source: str = flag("", "Where the published figures are from.")

    def __post_init__(self) -> None:
        odd = [row for row in self.rows if row.count("=") != 2 or ":" not in row.rpartition("=")[2]]
        require(not odd, f"--rows {'; '.join(odd)}: expected NAME=PUBLISHED=FILE:FIGURE")


def figure(where: str) -> float:
    """The number at `FILE:NAME`, of the file itself or of its `metrics`.

    Raises:
        DataError: there is none.
    """
    file, _, name = where.rpartition(":")
    found: Any = read_json(Path(file))
    for holder in (found, found.get("metrics", {}) if isinstance(found, dict) else {}):
        value = holder
        for part in name.split("."):
            value = _inside(value, part)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value
    raise DataError(f"{file}: holds no figure {name}")


def _inside(value: Any, part: str) -> Any:
    if isinstance(value, list):
        return (
            value[int(part)]
            if part.lstrip("-").isdecimal() and -len(value) <= int(part) < len(value)
            else None
        )
    return value.get(part) if isinstance(value, dict) else None


def table(rows: list[str]) -> str:
    lines = ["| figure | published | yours |", "|---|---|---|"]
    for row in rows:
        name, published, where = row.split("=")
        lines.append(f"| {name} | {'' if published == '-' else published} | {number(figure(where))} |")
    return "\n".join(lines)


def main(config: ExpectedConfig) -> None:
    text = table(config.rows) + (f"\n\nPublished: {config.source}" if config.source else "")
    Path(config.output).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    run_command(main, ExpectedConfig)
