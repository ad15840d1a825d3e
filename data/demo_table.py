"""Figures of several runs of the demo, one for each seed: mean and spread, as Markdown.

python -m data.demo_table --demos models/demo-0 models/demo-1 models/demo-2 --output models/demo.md
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev

from transformers import HfArgumentParser

from eval.report import table

COLUMNS = {"Hal": "Hal %", "cut": "cut %", "CHAIR_i": "CHAIR_i %", "Cover": "Cover %", "words": "words"}


@dataclass(frozen=True)
class DemoTableConfig:
    demos: list[str] = field(metadata={"help": "Output folders of scripts/demo.sh."})
    output: str = field(metadata={"help": "Markdown file to write."})


def spread(values: Sequence[float]) -> str:
    """`mean ± sample standard deviation`, or the one value there is."""
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def runs_table(specs: Sequence[dict]) -> list[str]:
    cells = defaultdict(lambda: defaultdict(list))  # (run, decoding) -> column -> a value for each seed
    for spec in specs:
        for run in table(spec["runs"]):
            for decoding, cell in run["cells"].items():
                for column in COLUMNS:
                    cells[run["name"], decoding][column].append(cell[column])
    lines = [row("run", "decoding", *COLUMNS.values()), row(*["---"] * (2 + len(COLUMNS)))]
    for (name, decoding), columns in cells.items():
        figures = ("" if None in values else spread(values) for values in columns.values())
        lines.append(row(name, decoding, *figures))
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
    specs = [json.loads((Path(demo) / "report.json").read_text()) for demo in config.demos]
    text = "\n".join([*runs_table(specs), "", *figures_table(specs)])
    Path(config.output).write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main(HfArgumentParser(DemoTableConfig).parse_args_into_dataclasses()[0])
