"""Sampled answers as records of data/README.md, so that they can be scored, paired and learned from.

A line for each prompt, with all its answers in the last turn. Pictures are named from a link beside the file to the
folder that they lie in, so the file is read without --image_folder; those that data hold inside are written out.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from training.utils.data.images import content_digest, encoded
from training.utils.data.record import DataError, Picture, Record
from training.utils.data.records import Records
from training.utils.files.whole import write_whole

PICTURES, INSIDE = "pictures", "pictures-inside"  # beside the file: links to folders, pictures written out


def write_data(
    records: Sequence[Record],
    answers: Sequence[Sequence[str]],
    ended: Sequence[Sequence[bool] | None],
    output: Path,
    keep_cut: bool,
) -> None:
    """Writes the records with these answers, the file in one go, and prints how many answers are left out.

    An answer that was cut off is left out, for whoever learns from it learns to end there; so is an empty one, and a
    prompt without an answer left.

    Args:
        answers: of each record.
        ended: which of them came to their end by themselves; none where that is not known.
        keep_cut: keeps answers that were cut off.

    Raises:
        DataError: no answer is left.
    """
    folders = picture_folders(records)
    lines, cut, empty, unknown = [], 0, 0, 0
    for record, texts, whole in zip(records, answers, ended, strict=True):
        unknown += whole is None
        whole = whole or [True] * len(texts)
        cut += len(whole) - sum(whole)
        empty += sum(not text.strip() for text in texts)
        kept = [t for t, is_whole in zip(texts, whole, strict=True) if t.strip() and (is_whole or keep_cut)]
        if kept:
            lines.append(json.dumps(entry(record, kept, folders, output.parent), ensure_ascii=False) + "\n")
    if not lines:
        raise DataError(
            f"{output}: of {len(records)} prompts no answer is left: {cut} were cut off and {empty} are empty; allow "
            "longer ones (--max_new_tokens), or have those that were cut off too (--keep_cut)"
        )
    output.parent.mkdir(parents=True, exist_ok=True)
    link_pictures(output.parent, folders)
    write_whole(output, "".join(lines))
    notes = [f"{len(lines)} of {len(records)} prompts"]
    notes += [f"{cut} answers were cut off and are {'kept' if keep_cut else 'left out'}"] * bool(cut)
    notes += [f"{empty} are empty and left out"] * bool(empty)
    notes += [f"of {unknown} prompts nothing says whether the answers came to their end"] * bool(unknown)
    print(f"wrote {output}: {', '.join(notes)}", flush=True)


def entry(record: Record, responses: list[str] | str, folders: Sequence[Path], beside: Path) -> dict:
    """A record with some responses, in the format of LLaVA."""
    roles = {"user": "human", "assistant": "gpt"}
    turns = [{"from": roles[turn.role], "value": turn.text} for turn in record.turns]
    more = {"system": record.system, "label": record.label, "source": record.origin}
    images = [_name(image, folders, beside) for image in record.images]
    return {
        "id": record.id,
        **({"image": images} if images else {}),
        "conversations": [*turns, {"from": "gpt", "value": responses}],
        **{name: value for name, value in more.items() if value},
    }


def picture_folders(records: Sequence[Record]) -> list[Path]:
    """The folders that the pictures of records are named from, without links in their paths."""
    if not isinstance(records, Records):
        return []
    return list(dict.fromkeys(folder.absolute() for folder in records.folders))


def link_pictures(beside: Path, folders: Sequence[Path]) -> None:
    """Links to the folders of pictures, by the names that entries of a file there have for them."""
    for number, folder in enumerate(folders):
        link(beside / _named(number), folder)


def link(place: Path, folder: Path) -> None:
    """A link to a folder, in the place of an older one."""
    if place.is_symlink() and os.readlink(place) == str(folder):
        return
    temporary = place.with_name(f".{place.name}.partial")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(folder, target_is_directory=True)
    temporary.replace(place)


def _named(number: int) -> str:
    return f"{PICTURES}-{number}" if number else PICTURES


def _name(image: Picture, folders: Sequence[Path], beside: Path) -> str:
    """A picture's name from the folder `beside`."""
    if isinstance(image, Path):
        inside = (
            f"{_named(number)}/{image.absolute().relative_to(folder)}"
            for number, folder in enumerate(folders)
            if image.absolute().is_relative_to(folder)
        )
        return next(inside, str(image.absolute()))
    content, kind = encoded(image)
    file = beside / INSIDE / f"{content_digest(image)[:32]}.{kind.lower()}"
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)
    return f"{INSIDE}/{file.name}"
