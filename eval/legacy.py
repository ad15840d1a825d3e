"""Predictions as the lines of Vision-LLM-Alignment: ` ||| ` between id, image, prompt, response and label; and scores
of its reward models, ` ||| ` between id, image, prompt with answer, and score."""

from collections.abc import Sequence
from pathlib import Path

from training.utils.data.legacy_lines import (
    SUFFIX,
    is_json,
    legacy_file,
    named_within,
    read_lines,
    write_lines,
)
from training.utils.data.record import DataError
from training.utils.files import jsonl


def write_legacy(predictions: Path, image_folders: Sequence[Path]) -> Path:
    """Writes predictions as legacy lines, in one go. Returns the file.

    An image is named as from the one of `image_folders` that it lies in. Where a record has none, or no label, the
    line says None.
    """
    rows = []
    for line in jsonl.read(predictions):
        images = ",".join(named_within(image, image_folders) for image in line["image"]) or None
        rows.append([line["id"], images, line["prompt"], line["response"], line.get("label")])
    write_lines(file := legacy_file(predictions), rows)
    return file


def is_legacy(file: Path) -> bool:
    """Whether a predictions file holds legacy lines."""
    return file.suffix == SUFFIX and not is_json(file)


def read_legacy(file: Path) -> list[dict]:
    """The legacy lines of a `.res` file as the objects that JSON Lines of predictions, or of scores, hold.

    Lines that are repeated word for word are one answer: the original wrote what several processes shared out twice.

    Raises:
        DataError: the file does not parse.
    """
    rows = read_lines(file, 5, 4)
    if len(rows[0] if rows else []) == 5:
        unique = dict.fromkeys(map(tuple, rows))
        return [{"id": row[0], "prompt": row[2], "response": row[3]} for row in unique]
    scores: dict[str, list[float]] = {}
    for number, (name, *_, score) in enumerate(rows, 1):
        try:
            scores.setdefault(name, []).append(float(score))
        except ValueError:
            raise DataError(f"{file}: line {number}: {score!r} is no number; expected a score") from None
    return [{"id": name, "scores": given} for name, given in scores.items()]
