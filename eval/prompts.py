"""What is to be answered: records of a file, or questions of a benchmark's official files; and what can't be."""

import json
import logging
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from eval.benches.table import get_bench
from training.utils import dist
from training.utils.data.encode import Encoder
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError, Record
from training.utils.data.records import Failure, draw, image_root, read_records
from training.utils.stage_config import PredictConfig

logger = logging.getLogger(__name__)


def load_prompts(config: PredictConfig, encoder: Encoder) -> tuple[list[Record], list[Failure]]:
    """The prompts that can be answered, and the entries that can't: a picture is bad, or a prompt too long."""
    path = Path(config.data_path)
    entries = draw(_entries(path, config.bench), config.num_samples, config.seed)
    records, failures = [], []
    for result in read_records(entries, path, image_root(path, config.image_folder), min_responses=0):
        if isinstance(result, Record):
            try:
                encoder.check([result])
            except DataError as error:
                reason = str(error).removeprefix(f"{result.source} id={result.id}: ")
                result = Failure(result.source, result.id, reason)
        (records if isinstance(result, Record) else failures).append(result)
    return records, failures


def _entries(path: Path, bench: str) -> Iterable:
    if not bench:
        return read_entries(path)
    return [question.entry() for question in get_bench(bench).questions([str(path)])]


def report_failures(failures: list[Failure], total: int, file: Path, skip: bool) -> None:
    """Lists what can't be used in a file of its own, a line for each; of an earlier run none stays.

    Raises:
        DataError: there are failures, and they are not to be skipped or nothing is left.
    """
    if dist.is_main():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        if failures:
            file.write_text("".join(json.dumps(asdict(failure)) + "\n" for failure in failures))
    if not failures:
        return
    found = f"{len(failures)} of {total} records can't be used; {file} lists them; the first: {failures[0]}"
    if not skip or len(failures) == total:
        raise DataError(f"{found}. Mend them, or leave them out with --on_bad_record skip")
    logger.warning(found)
