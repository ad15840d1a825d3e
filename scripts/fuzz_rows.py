"""Rows of every format and pictures of every kind, damaged at random; see `fuzz_data.py`."""

import copy
import io
import math
import random
import re
from collections.abc import Iterator
from typing import Any

from PIL import Image

from data.make_format_samples import samples
from training.utils.data.formats import captions, is_captions, normalise
from training.utils.data.record import DataError

VALUES: list[Any] = [
    None, "", " ", 0, -3, 1.5, math.nan, math.inf, True, False, "text", "[1]", '{"a": 1}', "\ud800", "\0", "<image>",
    "x" * 100_000, "data:image/png;base64,!", "data:,", "http://x.org/a.png", "a,,b", "../../etc/passwd", "/dev/zero",
    "picture.png", ["picture.png", "picture.png"], [], {}, [None], [[]], ["a", 5], [{"a": None}], {"bytes": None},
    {"path": 5}, {"from": []}, "</s><s>[INST]", "\u202e\u200b", "😀" * 50, list(range(2000)),
]  # fmt: skip
NAMES = ["{}s", "{}_path", "my_{}", "{}_x", "x{}", "note", "meta", "video", "images2", "Bild", "{}1", "_{}"]

CONTENTS = samples()
ROWS = [
    row for content in CONTENTS.values() for row in (captions(content) if is_captions(content) else content)
]


def places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    """The path of everything that lies inside a row."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield (*path, key)
        yield from places(part, (*path, key))


def parent_of(row: Any, path: tuple) -> Any:
    for key in path[:-1]:
        row = row[key]
    return row


def with_our_picture(row: Any) -> Any:
    """The row with the picture of this run in place of its own."""
    if isinstance(row, dict):
        return {key: with_our_picture(value) for key, value in row.items()}
    if isinstance(row, list):
        return [with_our_picture(value) for value in row]
    is_name = isinstance(row, str) and re.fullmatch(r"[^\n]+\.(png|jpg)", row)
    return "picture.png" if is_name and "," not in row else row


def damaged_row(rng: random.Random) -> Any:
    """A row of some format with up to three things changed."""
    row = with_our_picture(copy.deepcopy(rng.choice(ROWS)))
    for _ in range(rng.randrange(4)):
        found = list(places(row))
        if not found:
            break
        path = rng.choice(found)
        parent, key = parent_of(row, path), path[-1]
        kind = rng.randrange(6)
        if kind == 0 and isinstance(parent, dict):
            parent[rng.choice(NAMES).format(key)] = parent.pop(key)
        elif kind == 1 and isinstance(parent, dict):
            del parent[key]
        elif kind == 2:
            parent[key] = rng.choice(
                [[parent[key]], {"nested": parent[key]}, [parent[key]] * 2, str(parent[key])]
            )
        elif kind == 3 and isinstance(parent, dict):
            parent[rng.choice(["image", "images", "system", "tools", "weight", "label", "score"])] = (
                copy.deepcopy(rng.choice(VALUES))
            )
        else:
            parent[key] = copy.deepcopy(rng.choice(VALUES))
    return row if rng.random() > 0.01 else rng.choice([None, 5, "text", [], [row], {}])


def renamed_row(rng: random.Random) -> str:
    """What becomes of a row of which one key has another name: `blind` if pictures are lost without a word."""
    row = copy.deepcopy(rng.choice(ROWS))
    images = len(normalise(copy.deepcopy(row)).images)
    path = rng.choice([path for path in places(row) if isinstance(path[-1], str)])
    parent = parent_of(row, path)
    name = rng.choice(NAMES).format(path[-1])
    if name in parent:
        return "the same"
    parent[name] = parent.pop(path[-1])
    try:
        return "blind" if len(normalise(row).images) < images else "read with its pictures"
    except DataError:
        return "refused"


# -- pictures --------------------------------------------------------------------------------------------


def damaged_picture(rng: random.Random) -> bytes:
    """A picture of some kind, size and format; often cut, with flipped bits, or no picture at all."""
    mode = rng.choice(["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "I", "F", "YCbCr", "HSV", "LAB"])
    size = rng.choice(
        [
            (40, 30),
            (64, 48),
            (20, 60),
            (1, 1),
            (3, 900),
            (640, 480),
            (30_000, 1),
            (1, 5_000),
            (300, 1),
            (201, 1),
        ]
    )
    image = Image.effect_noise(size, 60)
    image = image.convert("RGB").convert(mode) if mode not in ("I;16", "I", "F") else image.convert(mode)
    buffer = io.BytesIO()
    try:
        image.save(
            buffer, rng.choice(["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM", "EPS", "ICO", "TGA"])
        )
    except (OSError, ValueError, KeyError):
        image.convert("RGB").save(buffer, "PNG")
    content = bytearray(buffer.getvalue())
    kind = rng.randrange(8)
    if kind == 0:
        content = content[: rng.randrange(len(content) + 1)]
    elif kind == 1:
        for _ in range(rng.randrange(1, 20)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == 2 and rng.random() < 0.3:
        content = bytearray(rng.randbytes(rng.randrange(200)))
    return bytes(content)
