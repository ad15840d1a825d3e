"""The language of the demo world: captions, questions and edits."""

from collections.abc import Mapping, Sequence

NUMBERS = ("none", "one", "two", "three")
SAME_PLURAL = ("deer", "fish", "sheep", "shrimp")
LETTERS = "ABCD"


def with_article(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def plural(name: str) -> str:
    if name.endswith("mouse"):
        return f"{name.removesuffix('mouse')}mice"
    if name.endswith(SAME_PLURAL):
        return name
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")


def caption(counts: Mapping[str, int]) -> str:
    """`a cat.`, `a cat and two dogs.`, `a cat, a dog and a tree.`"""
    *first, last = (
        with_article(name) if count == 1 else f"{NUMBERS[count]} {plural(name)}"
        for name, count in counts.items()
    )
    return f"{', '.join(first)} and {last}." if first else f"{last}."


def critique(said: Mapping[str, int], there: Mapping[str, int]) -> str:
    """What a scene shows, and what is wrong with a caption of it, if anything is."""
    wrong = [f"There is no {name}." for name in said if name not in there]
    wrong += [f"It leaves out the {name}." for name in there if name not in said]
    return " ".join([f"The picture shows {caption(there)}", *(wrong or ["All of it is said."])])


def is_there(name: str) -> str:
    return f"Is there {with_article(name)} in the image?"


def how_many(name: str) -> str:
    return f"How many {plural(name)} are in the image?"


def is_number(name: str, count: int) -> str:
    """Whether there are so many of a thing."""
    return f"{'Is' if count == 1 else 'Are'} there exactly {NUMBERS[count]} {name if count == 1 else plural(name)}?"


def is_beside(name: str, relation: str, other: str) -> str:
    return f"Is the {name} {relation} the {other}?"


def is_like(name: str, state: str) -> str:
    return f"Is the {name} {state}?"


def which_of(names: Sequence[str]) -> str:
    options = "\n".join(f"{letter}. {name}" for letter, name in zip(LETTERS, names, strict=True))
    return f"Which of these is in the image?\n{options}\nAnswer with the letter."


def yes_no(is_true: bool) -> str:
    return "Yes." if is_true else "No."


def edited(counts: Mapping[str, int], old: str, new: str, count: int, place: int) -> dict[str, int]:
    """`count` of `new` in the place of `old`; without an `old` they come at `place`, without a `new` it goes."""
    items = list(counts.items())
    if not old:
        items.insert(place, (new, count))
        return dict(items)
    replaced = ((new, count) if name == old else (name, number) for name, number in items)
    return {name: number for name, number in replaced if name}
