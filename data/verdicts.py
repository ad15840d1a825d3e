"""Rows that teach a model to say whether an answer is right, from ranked answers (training/rewards/verdict.py).

    python -m data.verdicts my_pairs.json --output verdicts.jsonl

Of each record the best answer gives a row that ends in Yes and the worst one that ends in No, so that a prompt alone
tells nothing. `run_sft.sh` learns from the rows, and its model is then a reward model.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from eval.sampled_data import entry, link_pictures, picture_folders
from training.rewards.verdict import FORM, row
from training.utils.config.flags import flag
from training.utils.data.check import load_records
from training.utils.data.reader import Reader
from training.utils.files.whole import write_whole
from training.utils.process.command import run_command


@dataclass(frozen=True)
class VerdictsConfig:
    data_path: str = flag(help="Ranked answers, in any format of data/README.md.", positional=True)
    output: str = flag(help="JSON Lines file to write.", writes="file")
    image_folder: str = flag("", "Folder that image paths start from; none: that of the data.")


def main(config: VerdictsConfig) -> None:
    """
    Raises:
        DataError: a record has no two answers to tell apart.
    """
    records = load_records(
        config.data_path, Reader(min_responses=2, image_folder=config.image_folder or None)
    )
    output, folders, lines = Path(config.output), picture_folders(records), []
    output.parent.mkdir(parents=True, exist_ok=True)
    link_pictures(output.parent, folders)
    for record in records:
        for answer, verdict in ((record.responses[0], FORM.yes), (record.responses[-1], FORM.no)):
            told = row(record, answer, verdict)
            lines.append(entry(told, verdict, folders, output.parent))
    write_whole(output, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    print(f"{output}: {len(lines)} verdicts on answers to {len(records)} prompts")


if __name__ == "__main__":
    run_command(main, VerdictsConfig)
