"""Rows of every format with one thing changed: read, or refused by one message; never blind, never a traceback."""

import copy
import math
from typing import Any

import pytest

from data.make_format_samples import samples
from scripts.fuzz_rows import places
from training.utils.data.formats import Spelled, captions, is_captions, normalise
from training.utils.data.formats.names import kind
from training.utils.data.record import DataError

CONTENTS = samples()
ROWS = {
    f"{name}[{place}]": row
    for name, content in CONTENTS.items()
    for place, row in enumerate(captions(content) if is_captions(content) else content)
}
DEEP: Any = "a.png"
for _ in range(400):
    DEEP = [{"x": DEEP}]
VALUES = [
    *(
        None,
        "",
        " ",
        0,
        -3,
        1.5,
        10**400,
        math.nan,
        math.inf,
        True,
        False,
        b"\x89PNG",
        "text",
        "[1]",
        '{"a": 1}',
    ),
    *(
        "\ud800",
        "\0",
        "x" * 100_000,
        "data:image/png;base64,!",
        "data:,",
        "http://x.org/a.png",
        "a,,b",
        "<image>",
    ),
    *(
        [],
        {},
        [None],
        [[]],
        ["a", 5],
        [{"a": None}],
        {"bytes": None},
        {"bytes": "x"},
        {"path": 5},
        {"from": []},
        DEEP,
    ),
]


def at(row: Any, path: tuple) -> Any:
    for key in path:
        row = row[key]
    return row


def changed(row: dict, path: tuple, value: Any) -> dict:
    row = copy.deepcopy(row)
    at(row, path[:-1])[path[-1]] = value
    return row


def renamed(row: dict, path: tuple, name: str) -> dict:
    row = copy.deepcopy(row)
    parent = at(row, path[:-1])
    parent[name] = parent.pop(path[-1])
    return row


def outcome(row: Any) -> Spelled | None:
    """What a row is read as, sound in itself; none where it is refused by a message that fits a terminal."""
    try:
        spelled = normalise(row)
    except DataError as error:
        assert 10 < len(str(error)) < 1_500 and str(error).encode(), str(error)[:300]
        return None
    roles = [turn.role for turn in spelled.turns]
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    texts = [*(turn.text for turn in spelled.turns), *spelled.responses, spelled.system, spelled.label or ""]
    assert all(isinstance(text, str) and text.encode() is not None for text in texts)
    assert spelled.scores is None or len(spelled.scores) == len(spelled.responses)
    assert all(map(math.isfinite, spelled.scores or ()))
    assert not any(image in ("", b"") for image in spelled.images)
    return spelled


@pytest.mark.parametrize("name", ROWS)
def test_a_row_with_one_value_changed_is_read_or_refused(name):
    row = ROWS[name]
    for path in places(row):
        whole = at(row, path)
        for value in (
            *VALUES,
            [whole],
            [[whole]],
            {"nested": whole},
            {path[-1]: whole},
            [whole, whole],
            str(whole),
        ):
            outcome(changed(row, path, value))


@pytest.mark.parametrize("name", ROWS)
def test_a_row_with_one_key_renamed_never_loses_its_pictures_in_silence(name):
    row = ROWS[name]
    images = normalise(row).images
    for path in places(row):
        key = path[-1]
        if isinstance(key, int):
            continue
        names = [
            key.upper(),
            key.title(),
            f"{key}s",
            f"{key}_path",
            f"{key}_x",
            f"my_{key}",
            "xq",
            "note",
            "video",
            "meta",
        ]
        for new in names:
            if new in at(row, path[:-1]):
                continue
            spelled = outcome(renamed(row, path, new))
            if spelled is not None and new not in ("id", "source"):
                assert spelled.images == images, (path, new)
            if spelled is not None and new == "video":
                assert kind(key) != "picture"


@pytest.mark.parametrize(
    "row", [None, 5, "text", [], [{}], {}, {"": 1}, {5: "x"}, {None: None}, {"a" * 10_000: 1}, DEEP]
)
def test_what_is_no_row_is_refused(row):
    assert outcome(row) is None
