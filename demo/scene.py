"""Scenes: what stands in a picture, and what is true of it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import permutations

from demo.draw import Thing

FAR = 0.2  # how far apart the middles of two things are, at least, for one to be left of or above the other
ROWS = 4  # that captions read a picture in
RELATIONS = {
    "to the left of": lambda x, y: x < -FAR,
    "to the right of": lambda x, y: x > FAR,
    "above": lambda x, y: y < -FAR,
    "below": lambda x, y: y > FAR,
}
OPPOSITE = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
}


@dataclass(frozen=True)
class Scene:
    id: str
    image: str  # path inside the world's folder
    things: tuple[Thing, ...]  # in the order in which captions name them
    twin: str = ""  # the scene that differs from this one in one kind of thing

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind, in the order of the things."""
        return dict(Counter(thing.name for thing in self.things))

    def absent(self, names: Sequence[str]) -> list[str]:
        """Those of some names that no thing has, in their order."""
        return [name for name in names if name not in self.counts]

    def tempting(self, partner: Mapping[str, str], absent: Sequence[str]) -> list[str]:
        """Absent names whose partners are there."""
        return [name for kind in self.counts if (name := partner.get(kind)) in absent]

    def single(self) -> list[Thing]:
        """The things that are the only ones of their kind: `the cat` can be no other."""
        return [thing for thing in self.things if self.counts[thing.name] == 1]

    def relations(self) -> Iterator[tuple[str, str, str]]:
        """All that hold between two things: (`cat`, `above`, `dog`)."""
        for one, other in permutations(self.single(), 2):
            x, y = (a - b for a, b in zip(middle(one), middle(other), strict=True))
            for relation, holds in RELATIONS.items():
                if holds(x, y):
                    yield one.name, relation, other.name

    def truth(self) -> dict:
        """What scorers and readers need."""
        return {
            "id": self.id,
            "image": self.image,
            "objects": list(self.counts),
            "twin": self.twin,
            "things": [asdict(thing) for thing in self.things],
        }


def reading_order(thing: Thing) -> tuple[int, float]:
    """Sorts things as a text is read: in rows from the top, each from the left."""
    x, y = middle(thing)
    return int(ROWS * y), x


def middle(thing: Thing) -> tuple[float, float]:
    left, top, right, bottom = thing.box
    return (left + right) / 2, (top + bottom) / 2


def scene_of(truth: dict) -> Scene:
    """A scene from its entry of a `truth_*.json`."""
    things = (Thing(**thing | {"box": tuple(thing["box"])}) for thing in truth["things"])
    return Scene(truth["id"], truth["image"], tuple(things), truth["twin"])
