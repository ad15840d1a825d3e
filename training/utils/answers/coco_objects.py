"""The COCO objects that a text names: the rules of CHAIR (arXiv 1809.02156) as Object HalBench (RLAIF-V) has them.

The synonyms are a file of the user's: a line for each class, `class, synonym, synonym`.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from ..data.record import DataError
from .lemmas import COCO

ANIMALS = "bird cat dog horse sheep cow elephant bear zebra giraffe animal cub".split()
# Marks are tokens: `a hot, dog` is no hot dog. `o'clock` is one word, and no clock.
TOKEN = re.compile(r"\bo['’]clock\b|\w+(?:[-/.]\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Vocabulary:
    class_of: dict[str, str]  # by name
    pairs: dict[str, str]  # what two words in a row are read as
    words: frozenset[str]  # that names consist of

    def mentions(self, text: str) -> list[tuple[str, str]]:
        """Name and class of each object that the text names, in order, each as often as it is named."""
        tokens = [COCO.lemma(token, self.words) for token in TOKEN.findall(text.lower())]
        names, place = [], 0
        while place < len(tokens):
            pair = self.pairs.get(" ".join(tokens[place : place + 2]))
            names.append(pair or tokens[place])
            place += 2 if pair else 1
        if "toilet" in names and "seat" in names:  # the seat of a toilet is no chair
            names = [name for name in names if name != "seat"]
        return [(name, self.class_of[name]) for name in names if name in self.class_of]


def read_vocabulary(file: Path) -> Vocabulary:
    """The vocabulary of a file of synonyms.

    Raises:
        DataError: it is not there, is empty, or has a name in two classes.
    """
    if not file.is_file():
        raise DataError(f"--synonyms {file}: no such file; expected lines of `class, synonym, synonym`")
    class_of: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8-sig").splitlines():
        names = [name.strip() for name in line.split(",") if name.strip()]
        for name in names:
            if class_of.setdefault(name, names[0]) != names[0]:
                raise DataError(
                    f"--synonyms {file}: {name!r} stands in {class_of[name]} and in {names[0]}; expected one class"
                )
    if not class_of:
        raise DataError(f"--synonyms {file}: is empty; expected lines of `class, synonym, synonym`")
    pairs = {name: name for name in (*class_of, "home plate", "train track") if " " in name}
    pairs |= {f"{age} {animal}": animal for animal in ANIMALS for age in ("baby", "adult")}
    pairs |= {"passenger jet": "jet", "passenger train": "train", "bow tie": "tie", "toilet seat": "toilet"}
    words = {word for name in (*class_of, *pairs) for word in name.split()}
    return Vocabulary(class_of, pairs, frozenset(words))
