"""Boxes in texts, as corners `x1, y1, x2, y2` in one unit, and how far two sets of them agree."""

import re

Box = tuple[float, float, float, float]
NUMBER = r"\s*(-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?)\s*"
# `[1, 2, 3, 4]`, alone or as a value of JSON; `(1, 2), (3, 4)` as Qwen-VL and InternVL write it.
BOX = re.compile(
    rf"[\[({{<]{NUMBER},{NUMBER},{NUMBER},{NUMBER}[\])}}>]"
    rf"|\({NUMBER},{NUMBER}\)\s*,?\s*\({NUMBER},{NUMBER}\)"
)


def boxes(text: str) -> list[Box]:
    """The boxes, in order; corners in either order.

    >>> boxes("<box>(10,20),(5,40)</box>")
    [(5.0, 20.0, 10.0, 40.0)]
    """
    found = []
    for match in BOX.finditer(text):
        x1, y1, x2, y2 = (float(part) for part in match.groups() if part is not None)
        found.append((min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)))
    return found


def iou(one: Box, other: Box) -> float:
    """Intersection over union; 0 where neither has an area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0.0) * max(height, 0.0)
    union = _area(one) + _area(other) - shared
    return shared / union if union > 0 else 0.0


def matched_iou(found: list[Box], true: list[Box]) -> float:
    """The IoU of pairs, the best pair first, summed and divided by the number of the larger set: a box too many
    costs as much as one that is missing."""
    pairs = sorted(
        ((iou(a, b), i, j) for i, a in enumerate(found) for j, b in enumerate(true)),
        key=lambda pair: -pair[0],
    )
    total, used_found, used_true = 0.0, set(), set()
    for value, i, j in pairs:
        if i not in used_found and j not in used_true:
            total += value
            used_found.add(i)
            used_true.add(j)
    return total / max(len(found), len(true), 1)


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
