"""Rows that teach a model to judge answers, from ranked answers (training/rewards/verdict.py).

    python -m data.verdicts my_pairs.json --output verdicts.jsonl
    python -m data.verdicts my_pairs.json --output duels.jsonl --side_by_side

Of each record the best answer gives a row that ends in Yes and the worst one that ends in No, so that a prompt alone
tells nothing; side by side both orders of the two give a row each, so that a place alone tells nothing. Where records
hold critiques of their answers, these come before the verdict. `run_sft.sh` learns from the rows, and its model is
then a reward model.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.sampled_data import entry, link_pictures, picture_folders
from training.rewards.verdict import form_of, rows
from training.utils.config.flags import flag
from training.utils.data.check import load_records
from training.utils.data.reader import Reader
from training.utils.data.record import DataError, Record
from training.utils.files.whole import write_whole
from training.utils.process.command import run_command


@dataclass(frozen=True)
class VerdictsConfig:
    data_path: str = flag(help="Ranked answers, in any format of data/README.md.", positional=True)
    output: str = flag(help="JSON Lines file to write.", writes="file")
    image_folder: str = flag("", "Folder that image paths start from; none: that of the data.")
    side_by_side: bool = flag(False, "Two answers are shown, and the verdict is A or B: which is better.")
    without_critiques: bool = flag(False, "The verdict alone, also where records hold critiques of answers.")


def main(config: VerdictsConfig) -> None:
    """
    Raises:
        DataError: a record has no two answers to tell apart, or some records hold critiques and some do not.
    """
    records = load_records(
        config.data_path, Reader(min_responses=2, image_folder=config.image_folder or None)
    )
    form = form_of(config.side_by_side, not config.without_critiques and have_critiques(records))
    output, folders, lines = Path(config.output), picture_folders(records), []
    output.parent.mkdir(parents=True, exist_ok=True)
    link_pictures(output.parent, folders)
    for record in records:
        lines += [entry(row, row.responses[0], folders, output.parent) for row in rows(record, form)]
    write_whole(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    print(f"{output}: {len(lines)} verdicts on answers to {len(records)} prompts: {form.name}")


def have_critiques(records: Sequence[Record]) -> bool:
    """Whether all answers of all records have critiques.

    Raises:
        DataError: some have, and some have none.
    """
    without = [record for record in records if not (record.critiques and all(record.critiques))]
    if without and any(any(record.critiques) for record in records):
        raise DataError(
            f"{len(without)} of {len(records)} records have no critique of some answer, such as {without[0].source} "
            f"({without[0].id}), and others have; expected critiques of all, or --without_critiques"
        )
    return not without


if __name__ == "__main__":
    run_command(main, VerdictsConfig)
