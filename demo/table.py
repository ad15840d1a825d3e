"""Figures of several runs of the demo, one for each seed: mean and spread, as Markdown.

python -m demo.table --demos models/demo-0 models/demo-1 models/demo-2 --output models/demo.md
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from eval.tables import read_scores
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.process.command import run_command

DESCRIPTIONS = {"Hal": "Hal %", "cut": "cut %", "CHAIR_i": "CHAIR_i %", "Cover": "Cover %", "words": "words"}
POPE = {"accuracy": "accuracy %", "F1": "F1 %", "yes_ratio": "yes %"}


@dataclass(frozen=True)
class DemoTableConfig:
    demos: list[str] = field(metadata={"help": "Output folders of scripts/demo.sh."})
    output: str = flag(help="Markdown file to write.", writes="file")


def spread(values: Sequence[float], digits: int = 1) -> str:
    """`mean ± sample standard deviation`, or the one value there is."""
    return f"{mean(values):.{digits}f}" + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def runs_table(specs: Sequence[dict], columns: dict[str, str]) -> list[str]:
    """The scores that hold the figures of `columns`, and by how many percent they cut the first run's rate."""
    cells = defaultdict(lambda: defaultdict(list))  # (run, score) -> column -> a value for each seed
    for spec in specs:
        base = spec["runs"][0]
        for run in spec["runs"]:
            for score, file in run["scores"].items():
                metrics = read_scores(Path(file))["metrics"]
                if not set(columns) - {"cut"} <= set(metrics):
                    continue
                if "cut" in columns and run is not base and score in base["scores"]:
                    rate = read_scores(Path(base["scores"][score]))["metrics"]["Hal"]
                    metrics["cut"] = 100 * (1 - metrics["Hal"] / rate) if rate else None
                for column in columns:
                    cells[run["name"], score][column].append(metrics.get(column))
    lines = [row("run", "answers", *columns.values()), row(*["---"] * (2 + len(columns)))]
    for (name, score), found in cells.items():
        figures = ("" if None in values else spread(values) for values in found.values())
        lines.append(row(name, score, *figures))
    return lines


def figures_table(specs: Sequence[dict]) -> list[str]:
    """The other figures; a value may hold several numbers with slashes between them."""
    values = defaultdict(list)
    for spec in specs:
        for figure in spec["figures"]:
            values[figure["name"]].append([float(part) for part in figure["value"].split(" / ")])
    lines = [row("figure", "value"), row("---", "---")]
    return lines + [row(name, " / ".join(map(spread, zip(*v, strict=True)))) for name, v in values.items()]


def main(config: DemoTableConfig) -> None:
    specs = [read_json(Path(demo) / "report.json", "runs", "figures") for demo in config.demos]
    tables = runs_table(specs, DESCRIPTIONS), runs_table(specs, POPE), figures_table(specs)
    text = "\n\n".join("\n".join(lines) for lines in tables)
    Path(config.output).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    run_command(main, DemoTableConfig)
