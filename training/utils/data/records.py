"""Files to validated records: a prompt of text and images, with its responses.

`formats.py` knows how each file format spells a record; here it is checked. Each failure names the file, the
index, the id, what was found, what was expected and how to mend it.
"""

import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from .entries import read_entries
from .formats import normalise
from .images import ImageError, locate, verify
from .record import MARKER, DataError, Record, Turn

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """An entry that is no record, and why."""

    source: str  # "file[index]"
    id: str  # "" if it has none
    reason: str

    def __str__(self) -> str:
        return f"{self.source}{f' id={self.id}' if self.id else ''}: {self.reason}"


def load_records(
    data_path: str,
    image_folder: str | None,
    *,
    min_responses: int,
    max_responses: int | None = None,
    on_bad_record: Literal["error", "skip"] = "error",
    samples: int | None = None,
    seed: int = 0,
) -> list[Record]:
    """The records of a file or data set folder, each checked, its images decoded once.

    Args:
        image_folder: where image paths start; none: the folder that the data lie in.
        min_responses, max_responses: how many responses the stage needs and uses, the best first.
        samples: how many records to draw at random; none: all.

    Raises:
        DataError: a record is bad and `on_bad_record` is "error", or no record is left.
    """
    path = Path(data_path)
    entries = draw(read_entries(path), samples, seed)
    records, bad = [], []
    for result in read_records(entries, path, image_root(path, image_folder), min_responses, max_responses):
        if isinstance(result, Record):
            records.append(result)
        elif on_bad_record == "error":
            raise DataError(str(result))
        else:
            bad.append(str(result))
    if bad:
        logger.warning("skipped %d of %d records:\n  %s", len(bad), len(entries), "\n  ".join(bad))
    if not records:
        raise DataError(f"{path}: no usable record among {len(entries)}; expected at least one")
    return records


def draw(entries: Iterable[Any], samples: int | None, seed: int) -> list[tuple[int, Any]]:
    """Entries with their indices: all, or as many as asked for, in their order."""
    numbered = list(enumerate(entries))
    if samples is None or samples >= len(numbered):
        return numbered
    return sorted(random.Random(seed).sample(numbered, samples), key=itemgetter(0))


def image_root(path: Path, image_folder: str | None) -> Path:
    """The folder that image paths start from: the one that was named, else that of the data."""
    folder = Path(image_folder) if image_folder else (path if path.is_dir() else path.parent)
    if not folder.is_dir():
        raise DataError(f"--image_folder {folder}: no such folder")
    return folder


def read_records(
    entries: Iterable[tuple[int, Any]],
    path: Path,
    folder: Path,
    min_responses: int,
    max_responses: int | None = None,
) -> Iterator[Record | Failure]:
    """Each entry as a record, or why it is none, in their order. Arguments as of `load_records`."""

    def check(numbered: tuple[int, Any]) -> Record | Failure:
        index, entry = numbered
        source = f"{path}[{index}]"
        try:
            return _record(entry, source, str(index), folder, min_responses, max_responses)
        except (DataError, ImageError) as error:
            name = str(entry["id"]) if isinstance(entry, dict) and "id" in entry else ""
            return Failure(source, name, str(error))

    with ThreadPoolExecutor() as pool:
        try:
            yield from pool.map(check, entries)
        finally:  # also where nobody asks for more
            pool.shutdown(cancel_futures=True)


def split(records: Sequence[Record], ratio: float, seed: int) -> tuple[list[Record], list[Record]]:
    """A share `ratio` of the records to train on, and the rest; drawn by the seed."""
    order = random.Random(seed).sample(range(len(records)), len(records))
    num_train = max(1, round(ratio * len(records)))
    return [records[i] for i in sorted(order[:num_train])], [records[i] for i in sorted(order[num_train:])]


def _record(
    entry: Any, source: str, number: str, folder: Path, min_responses: int, max_responses: int | None
) -> Record:
    spelled = normalise(entry)
    images = tuple(
        image if isinstance(image, Image.Image) else locate(image, folder) for image in spelled.images
    )
    for image in images:
        verify(image)
    responses, scores = tuple(text.strip() for text in spelled.responses), spelled.scores
    if scores:  # they say which is best, whatever the order
        ordered = sorted(zip(scores, responses, strict=True), key=lambda scored: -scored[0])
        scores, responses = zip(*ordered, strict=True)
    if len(responses) < min_responses:
        raise DataError(
            f"found {len(responses)} response(s), expected at least {min_responses}; "
            "the last gpt value holds them, as a text or as a list with the best first"
        )
    if any(not response for response in responses):
        raise DataError("a response is empty; expected text")
    if min_responses > 1 and len(set(responses)) < len(responses):
        raise DataError("two responses are the same; expected different ones to rank; remove one")
    return Record(
        id=str(spelled.id if spelled.id is not None else number),
        source=source,
        images=images,
        turns=_with_markers(spelled.turns, len(images)),
        responses=responses[:max_responses],
        scores=scores and scores[:max_responses],
        label=spelled.label,
        origin=spelled.origin or Path(source).stem,
    )


def _with_markers(turns: Sequence[Turn], num_images: int) -> tuple[Turn, ...]:
    """The turns with one image marker for each image: in front of the first turn, if there are none at all."""
    if not turns or turns[-1].role != "user":
        raise DataError("the prompt does not end with a human turn")
    turns = tuple(Turn(turn.role, turn.text.strip()) for turn in turns)
    found = sum(turn.text.count(MARKER) for turn in turns if turn.role == "user")
    if found == 0:
        first = Turn("user", "".join([f"{MARKER}\n"] * num_images) + turns[0].text)
        turns = (first, *turns[1:])
    elif found != num_images:
        raise DataError(
            f"found {found} {MARKER} marker(s) for {num_images} image(s); expected one for each image, or none at all"
        )
    for turn in turns:
        if not turn.text.replace(MARKER, "").strip():
            raise DataError(f"a {'human' if turn.role == 'user' else 'gpt'} turn is empty; expected text")
    return turns
