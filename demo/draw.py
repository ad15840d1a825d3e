"""Scenes as pictures: things placed on a crop of a background, and what of each can be seen."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from demo.art import Art

SIZES = {
    "small": (0.26, 0.31),
    "": (0.34, 0.45),
    "large": (0.5, 0.6),
}  # longest side, shares of the picture's
LEAST_VISIBLE = 0.7  # share of a thing that others leave to be seen
TRIES = 40
DARKEST, BRIGHTEST = 0.75, 1.15
TURN_DEGREES = 10
BLUR_PX = 1.2  # of a background, at most


@dataclass(frozen=True)
class Wish:
    """A thing that a scene should hold."""

    name: str
    is_grey: bool = False
    size: str = ""  # of SIZES


@dataclass(frozen=True)
class Thing:
    """One thing of a scene, as it can be seen."""

    name: str
    is_grey: bool
    size: str
    box: tuple[float, float, float, float]  # left, top, right, bottom, as shares of the picture's side
    visible: float  # share of its pixels that no other thing hides


def compose(
    art: Art, wishes: Sequence[Wish], place: int, picture_px: int, rng: random.Random
) -> tuple[Image.Image, list[Thing], np.ndarray] | None:
    """A scene of these things on the background number `place`; nothing if they do not fit.

    Returns:
        The picture; the things in the order of the wishes; and which of them each pixel shows (0: none, 1: the first,
        ...), [picture_px, picture_px].
    """
    owner = np.zeros((picture_px, picture_px), dtype=np.uint8)
    placed: list[tuple[Image.Image, int, int]] = []
    areas: list[int] = []
    for wish in wishes:
        for _ in range(TRIES):
            shown = _shown(art.cutouts[wish.name], wish, picture_px, rng)
            left = rng.randint(0, max(0, picture_px - shown.width))
            top = rng.randint(0, max(0, picture_px - shown.height))
            mask = np.asarray(shown.getchannel("A")) > 96
            after = owner.copy()
            seen = after[top : top + shown.height, left : left + shown.width]
            seen[mask[: seen.shape[0], : seen.shape[1]]] = len(placed) + 1
            counts = np.bincount(after.ravel(), minlength=len(placed) + 2)[1:]
            if all(count >= LEAST_VISIBLE * area for count, area in zip(counts[:-1], areas, strict=True)):
                break
        else:
            return None
        owner = after
        areas.append(max(1, int(mask.sum())))
        placed.append((shown, left, top))
    picture = _crop(art.backgrounds[place], picture_px, rng)
    for shown, left, top in placed:
        picture.paste(shown, (left, top), shown)
    counts = np.bincount(owner.ravel(), minlength=len(placed) + 1)[1:]
    things = []
    for wish, (shown, left, top), count, area in zip(wishes, placed, counts, areas, strict=True):
        box = (left, top, left + shown.width, top + shown.height)
        box = tuple(round(min(edge, picture_px) / picture_px, 3) for edge in box)
        things.append(Thing(wish.name, wish.is_grey, wish.size, box, round(float(count / area), 3)))
    return picture, things, owner


def _crop(background: Image.Image, picture_px: int, rng: random.Random) -> Image.Image:
    share = rng.uniform(0.4, 0.95) * min(background.size)
    left, top = rng.uniform(0, background.width - share), rng.uniform(0, background.height - share)
    box = (left, top, left + share, top + share)
    crop = background.resize((picture_px, picture_px), Image.Resampling.BILINEAR, box, reducing_gap=1.5)
    if rng.random() < 0.5:
        crop = ImageOps.mirror(crop)
    crop = crop.filter(ImageFilter.GaussianBlur(rng.uniform(0, BLUR_PX)))
    return ImageEnhance.Brightness(crop).enhance(rng.uniform(DARKEST, BRIGHTEST))


def _shown(cutouts: Sequence[Image.Image], wish: Wish, picture_px: int, rng: random.Random) -> Image.Image:
    """A cut-out as it stands in a scene: sized, mirrored, turned, lit."""
    cutout = rng.choice(cutouts)
    scale = rng.uniform(*SIZES[wish.size]) * picture_px / max(cutout.size)
    size = max(4, round(cutout.width * scale)), max(4, round(cutout.height * scale))
    shown = cutout.resize(size, Image.Resampling.BILINEAR, reducing_gap=2)
    if rng.random() < 0.5:
        shown = ImageOps.mirror(shown)
    turn = rng.uniform(-TURN_DEGREES, TURN_DEGREES)
    shown = shown.rotate(turn, Image.Resampling.BILINEAR, expand=True)
    colours = shown.convert("L").convert("RGB") if wish.is_grey else shown.convert("RGB")
    colours = ImageEnhance.Brightness(colours).enhance(rng.uniform(DARKEST, BRIGHTEST))
    colours.putalpha(shown.getchannel("A"))
    return colours
