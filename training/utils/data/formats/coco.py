"""Pictures with captions: COCO's own files, and tables of captions."""

from collections.abc import Iterator
from typing import Any

from ..record import MARKER, DataError, Turn
from .row import Row
from .spelled import Spelled

REQUEST = "Describe the picture in one sentence."


def read_caption(row: Row) -> Spelled:
    """A picture and a caption of it, as the answer to `REQUEST`.

    Raises:
        DataError: the row holds words that ask for something else.
    """
    if "text" in row:
        raise DataError(
            f"`caption` stands beside {row.what('text')}, and one of them would be lost; name the question by "
            "--columns prompt=text ignored=caption, or leave the words out by --columns ignored=text"
        )
    return Spelled(None, [], [Turn("user", f"{MARKER}\n{REQUEST}")], [row.text("caption")])


def is_captions(document: Any) -> bool:
    """Whether the JSON object of a whole file is COCO's `captions_*.json`."""
    return isinstance(document, dict) and all(
        isinstance(document.get(key), list) for key in ("images", "annotations")
    )


def captions(document: dict) -> Iterator[Any]:
    """An entry for each caption, in the file's order: none of a picture's captions is better than another."""
    images = [image for image in document["images"] if isinstance(image, dict)]
    files = {str(image.get("id")): image.get("file_name") for image in images}
    for annotation in document["annotations"]:
        if isinstance(annotation, dict) and "image_id" in annotation:
            file = files.get(str(annotation["image_id"]))
            yield {"id": annotation.get("id"), "image": file, "caption": annotation.get("caption")}
        else:
            yield annotation
