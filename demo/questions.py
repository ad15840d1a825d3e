"""Questions about a scene with their true answers, by the kind of task."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from demo.draw import SIZES
from demo.scene import OPPOSITE, Scene
from demo.words import LETTERS, NUMBERS, how_many, is_beside, is_like, is_number, which_of, yes_no

CLOSED = 3  # the largest number that is asked for


@dataclass(frozen=True)
class Asked:
    text: str
    answer: str


Ask = Callable[[Scene, Sequence[str], random.Random], Asked | None]


def count(scene: Scene, absent: Sequence[str], rng: random.Random) -> Asked:
    """How many of a kind; one that is there more often is asked for with the square of its number, so that no answer
    is right most of the time."""
    counts = scene.counts
    (name,) = rng.choices(list(counts), [number**2 for number in counts.values()])
    return Asked(how_many(name), f"{NUMBERS[counts[name]].capitalize()}.")


def number(scene: Scene, absent: Sequence[str], rng: random.Random) -> Asked:
    """Whether there are exactly so many of a kind."""
    name, true = rng.choice(list(scene.counts.items()))
    said = true if rng.random() < 0.5 else rng.choice([n for n in range(1, CLOSED + 1) if n != true])
    return Asked(is_number(name, said), yes_no(said == true))


def relation(scene: Scene, absent: Sequence[str], rng: random.Random) -> Asked | None:
    """Whether one thing is on a side of another; the false ones say the opposite of what is true."""
    if not (found := list(scene.relations())):
        return None
    name, side, other = rng.choice(found)
    is_true = rng.random() < 0.5
    return Asked(is_beside(name, side if is_true else OPPOSITE[side], other), yes_no(is_true))


def state(scene: Scene, absent: Sequence[str], rng: random.Random) -> Asked | None:
    """Whether a thing is small, or large; asked of those that are one of them."""
    sized = [thing for thing in scene.single() if thing.size]
    if not sized:
        return None
    thing = rng.choice(sized)
    said = rng.choice([size for size in SIZES if size])
    return Asked(is_like(thing.name, said), yes_no(said == thing.size))


def choice(scene: Scene, absent: Sequence[str], rng: random.Random) -> Asked:
    """Which of four is there."""
    options = [rng.choice(list(scene.counts)), *rng.sample(absent, len(LETTERS) - 1)]
    right = options[0]
    rng.shuffle(options)
    return Asked(which_of(options), f"{LETTERS[options.index(right)]}.")


KINDS: dict[str, Ask] = {
    "count": count,
    "number": number,
    "relation": relation,
    "state": state,
    "choice": choice,
}
