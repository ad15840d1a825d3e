"""Pair accuracy of the reward models of scripts/demo_rovrm.sh, as a Markdown table: a seed a column, mean and spread.

python -m data.demo_rovrm_table --folder models/demo-rovrm --seeds 0 1 2 --variants vanilla transport --split test
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from data.demo_table import row, spread
from training.reward_model.score import accuracy
from training.utils import jsonl


@dataclass(frozen=True)
class RovrmTableConfig:
    folder: str = field(metadata={"help": "Output folder of scripts/demo_rovrm.sh."})
    seeds: list[str] = field(metadata={"help": "Seeds, folders in it."})
    variants: list[str] = field(metadata={"help": "Variants, folders in a seed's."})
    split: str = field(metadata={"help": "Split that was scored."})


def percent(scores: Path) -> float:
    right, pairs = accuracy(jsonl.read(scores))
    return 100 * right / pairs


def main(config: RovrmTableConfig) -> None:
    print(row("pair accuracy %", *(f"seed {seed}" for seed in config.seeds), "mean"))
    print(row(*["---"] * (len(config.seeds) + 2)))
    for variant in config.variants:
        files = [
            Path(config.folder) / seed / variant / f"rewards-{config.split}.jsonl" for seed in config.seeds
        ]
        values = [percent(file) for file in files]
        print(row(variant, *(f"{value:.1f}" for value in values), spread(values)))


if __name__ == "__main__":
    main(HfArgumentParser(RovrmTableConfig).parse_args_into_dataclasses()[0])
