"""Pair accuracy of the reward models of scripts/demo_rovrm.sh, as a Markdown table: a seed a column, mean and spread.

python -m demo.rovrm_table --folder models/demo-rovrm --seeds 0 1 2 --variants vanilla transport --split test
"""

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from statistics import mean

from demo.table import row, spread
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.process.command import run_command


@dataclass(frozen=True)
class RovrmTableConfig:
    folder: str = field(metadata={"help": "Output folder of scripts/demo_rovrm.sh."})
    seeds: list[str] = field(metadata={"help": "Seeds, folders in it."})
    variants: list[str] = field(metadata={"help": "Variants, folders in a seed's."})
    split: str = field(metadata={"help": "Split that was scored."})


def percent(file: Path) -> float:
    """Share of pairs that are ordered rightly, a tie as half: the world's answers stand in their order, best first.

    Raises:
        DataError: the file is not there, or holds no scores.
    """
    pairs = [pair for line in jsonl.read(file) for pair in combinations(line.get("scores", ()), 2)]
    if not pairs:
        raise DataError(
            f"{file}: no scores of ranked answers; expected what training.reward_model.score writes"
        )
    return 100 * mean((better > worse) + (better == worse) / 2 for better, worse in pairs)


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
    run_command(main, RovrmTableConfig)
