"""The language of the demo world: captions, questions, edits, and finding the objects that a text names."""

import random
from collections.abc import Sequence

from training.utils.answers.mentions import objects_in

QUESTION = "Describe this image."


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def caption(names: Sequence[str]) -> str:
    """`a cat.`, `a cat and a dog.`, `a cat, a dog and a tree.`"""
    *first, last = map(with_article, names)
    return f"{', '.join(first)} and {last}." if first else f"{last}."


def question(name: str) -> str:
    return f"Is there {with_article(name)} in the image?"


def num_errors(text: str, objects: Sequence[str], names: Sequence[str]) -> int:
    """Objects that are named and not there, named twice, or there and not named."""
    named = objects_in(text, names)
    return len(set(named) ^ set(objects)) + len(named) - len(set(named))


def edited(objects: Sequence[str], old: str, new: str, rng: random.Random) -> list[str]:
    """`old` replaced by `new`; without an old one `new` comes anywhere, without a new one `old` goes."""
    if not old:
        at = rng.randint(0, len(objects))
        return [*objects[:at], new, *objects[at:]]
    replaced = (new if name == old else name for name in objects)
    return [name for name in replaced if name]
