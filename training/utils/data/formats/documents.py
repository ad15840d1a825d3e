"""Files that are one JSON object with the records inside: COCO's captions, and records under one key."""

from typing import Any

from ..record import DataError
from .values import names

WRAPPERS = ("data", "records", "examples", "samples", "rows", "items", "train", "annotations")


def entries_of(document: dict) -> list[Any]:
    """The entries of a file that holds one JSON object: itself, if it is a record.

    COCO's `captions_*.json` gives an entry for each caption, in its order, with the file name of its picture.

    Raises:
        DataError: a caption names no picture of the file.
    """
    images, annotations = document.get("images"), document.get("annotations")
    if isinstance(images, list) and isinstance(annotations, list):
        files = {image.get("id"): image.get("file_name") for image in images if isinstance(image, dict)}
        entries = []
        for place, annotation in enumerate(annotations):
            if not isinstance(annotation, dict) or not {"image_id", "caption"} <= annotation.keys():
                raise DataError(
                    f"annotations[{place}] lacks `image_id` or `caption`; expected COCO's captions"
                )
            if files.get(annotation["image_id"]) is None:
                raise DataError(f"annotations[{place}] names a picture that is not among `images`")
            entry = {"id": annotation.get("id"), "image": files[annotation["image_id"]]}
            entries.append(entry | {"caption": annotation["caption"]})
        return entries
    inside = wrapped_key(document)
    return document[inside] if inside else [document]


def wrapped_key(document: dict) -> str:
    """The key under which all records of a document lie; empty if it is no such document."""
    lists = [key for key, value in document.items() if key in WRAPPERS and _is_list_of_objects(value)]
    return lists[0] if len(lists) == 1 else ""


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def refusal(document: dict) -> str:
    """What to say of a row that is a whole file."""
    inside = wrapped_key(document) or "annotations"
    return f"found the keys {names(document)}: a whole file whose records lie under `{inside}`; expected one record"
