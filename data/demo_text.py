"""The language of the demo world: captions, questions, edits, and finding the objects that a text names."""

import random
import re
from collections.abc import Iterator, Sequence

QUESTION = "Describe this image."


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def caption(names: Sequence[str]) -> str:
    """`a cat.`, `a cat and a dog.`, `a cat, a dog and a tree.`"""
    *first, last = map(with_article, names)
    return f"{', '.join(first)} and {last}." if first else f"{last}."


def question(name: str) -> str:
    return f"Is there {with_article(name)} in the image?"


def objects_in(text: str, names: Sequence[str]) -> list[str]:
    """The objects that a text names, in order, each as often as it is named; plurals count."""
    pattern = rf"\b({'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})(?:e?s)?\b"
    return re.findall(pattern, text.lower())


def num_errors(text: str, objects: Sequence[str], names: Sequence[str]) -> int:
    """Objects that are named and not there, named twice, or there and not named."""
    named = objects_in(text, names)
    return len(set(named) ^ set(objects)) + len(named) - len(set(named))


def edits(
    objects: Sequence[str], names: Sequence[str], partner: dict[str, str], invent: bool, rng: random.Random
) -> Iterator[tuple[str, list[str], list[str]]]:
    """(kind, true names, edited names) of three edits of a scene, each with one error.

    Two are swaps, the hard ones: they can't be told by counting. In the third an object is invented, or else
    left out. Half of the inventions are partners, where there is one to tempt.
    """
    absent = [name for name in names if name not in objects]
    for _ in range(2):
        place = rng.randrange(len(objects))
        swapped = list(objects)
        swapped[place] = rng.choice(absent)
        yield "swapped", list(objects), swapped
    if invent:
        tempting = [partner[name] for name in objects if partner.get(name) in absent]
        invented = rng.choice(tempting) if tempting and rng.random() < 0.5 else rng.choice(absent)
        at = rng.randint(1, len(objects))
        yield "invented", list(objects), [*objects[:at], invented, *objects[at:]]
    else:
        left_out = list(objects)
        left_out.pop(rng.randrange(len(objects)))
        yield "left_out", list(objects), left_out
