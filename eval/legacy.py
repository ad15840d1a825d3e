"""Predictions as the lines of Vision-LLM-Alignment: ` ||| ` between id, image, prompt, response and label."""

import json
from collections.abc import Sequence
from pathlib import Path

from training.utils import jsonl
from training.utils.data.record import DataError

SUFFIX = ".res"


def predictions_file(output_path: str, legacy_output: bool) -> Path:
    """Where the JSON Lines go: of a `.res` file that is wanted as legacy lines, to the `.jsonl` beside it.

    Raises:
        DataError: that `.res` file holds predictions as JSON, which legacy lines would replace.
    """
    output = Path(output_path)
    if not legacy_output or output.suffix != SUFFIX:
        return output
    if output.is_file() and _is_json(output):
        raise DataError(
            f"--output_path {output}: holds predictions as JSON Lines, which --legacy_output would replace; rename "
            f"it to {output.with_suffix('.jsonl').name}, or choose another --output_path"
        )
    return output.with_suffix(".jsonl")


def legacy_file(predictions: Path) -> Path:
    """Where the legacy lines of a `predictions_file` go."""
    return predictions.with_suffix(SUFFIX)


def write_legacy(predictions: Path, image_folders: Sequence[Path]) -> Path:
    """Writes predictions as legacy lines, in one go. Returns the file.

    An image is named as from the one of `image_folders` that it lies in. Where a record has none, or no label, the
    line says None.
    """
    rows = []
    for line in jsonl.read(predictions):
        images = ",".join(_within(image, image_folders) for image in line["image"]) or None
        fields = [line["id"], images, line["prompt"], line["response"], line.get("label")]
        rows.append(" ||| ".join(str(field).replace("\n", "\\n") for field in fields) + "\n")
    file = legacy_file(predictions)
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text("".join(rows))
    temporary.replace(file)
    return file


def _within(image: str, folders: Sequence[Path]) -> str:
    names = [str(Path(image).relative_to(folder)) for folder in folders if Path(image).is_relative_to(folder)]
    return names[0] if names else image


def _is_json(file: Path) -> bool:
    with file.open() as opened:
        try:
            return isinstance(json.loads(opened.readline()), dict)
        except json.JSONDecodeError:
            return False
