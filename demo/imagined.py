"""Scenes without pictures: what stands where on a grid of places, as quick as thought."""

import random
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from demo.draw import LEAST_VISIBLE, SIZES, Thing
from demo.scene import Scene, reading_order
from demo.world import SIZE_SHARES, World, draw_share

FILLED = 0.8  # share of its box that a thing fills
SHOWN = 0.3  # share of a place that a thing fills, at least, for the place to show it
NARROWEST = 0.5  # short side of a box, as a share of the long one
TRIES = 20


def imagined(world: World, side: int, rng: random.Random) -> tuple[Scene, np.ndarray]:
    """A scene as the world's train split has them, and the class of what each of side x side places shows.

    Returns:
        The scene, whose things have boxes; classes, 0 for nothing, 1 for the first of the world's names, ...,
        [side * side].
    """
    while True:
        counts = world.counts("train", rng)
        names = [name for name, count in counts.items() for _ in range(count)]
        if placed := place(names, side, rng):
            things, owner = placed
            classes = np.array([0, *(1 + world.names.index(name) for name in names)])
            return Scene("", "", tuple(sorted(things, key=reading_order))), classes[owner].ravel()


def place(names: Sequence[str], side: int, rng: random.Random) -> tuple[list[Thing], np.ndarray] | None:
    """Things of these names in boxes at random, the later ones in front; nothing if they do not fit.

    Returns:
        The things; and which of them each place shows (0: none, 1: the first, ...), [side, side].
    """
    owner = np.zeros((side, side), dtype=int)
    things: list[Thing] = []
    areas: list[int] = []
    for number, name in enumerate(names, 1):
        for _ in range(TRIES):
            size = draw_share(SIZE_SHARES, rng)
            box = _box(size, rng)
            covered = FILLED * np.outer(overlap(box[1], box[3], side), overlap(box[0], box[2], side)) >= SHOWN
            after = np.where(covered, number, owner)
            kept = np.bincount(after.ravel(), minlength=number + 1)[1:number]
            if covered.any() and all(kept >= LEAST_VISIBLE * np.array(areas)):
                break
        else:
            return None
        owner = after
        areas.append(int(covered.sum()))
        things.append(Thing(name, False, size, box, 1.0))
    return things, owner


def _box(size: str, rng: random.Random) -> tuple[float, float, float, float]:
    """Left, top, right, bottom, as shares of the picture's side."""
    long = rng.uniform(*SIZES[size])
    sides = [long, long * rng.uniform(NARROWEST, 1)]
    rng.shuffle(sides)
    left, top = (rng.uniform(0, 1 - length) for length in sides)
    return left, top, left + sides[0], top + sides[1]


def overlap(start: float, end: float, side: int) -> np.ndarray:
    """How much of each row of places lies between two edges, as shares, [side]."""
    edges = [place / side for place in range(side + 1)]
    return np.array(
        [max(0.0, min(end, after) - max(start, before)) * side for before, after in pairwise(edges)]
    )
