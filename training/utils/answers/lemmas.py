"""The singular of a noun, for a closed vocabulary: the rules of WordNet's morphy, without its data.

WordNet tries what may stand in place of an ending and keeps what is a word. Here a word is what the benchmark's own
list holds, so that list takes the place of the dictionary. Where the list and WordNet part (a word that one of them
lacks, an irregular plural), WordNet is followed, as the official scorers do: such words stand here for each list.
"""

from collections.abc import Collection
from dataclasses import dataclass

ENDINGS = {
    "s": "",
    "ses": "s",
    "ves": "f",
    "xes": "x",
    "zes": "z",
    "ches": "ch",
    "shes": "sh",
    "men": "man",
    "ies": "y",
}
IRREGULAR = {
    "brethren": "brother",
    "buffaloes": "buffalo",
    "busses": "bus",
    "children": "child",
    "feet": "foot",
    "flamingoes": "flamingo",
    "geese": "goose",
    "grandchildren": "grandchild",
    "knives": "knife",
    "lives": "life",
    "men": "men",  # a noun of its own, as long as `man`, and it comes first
    "mice": "mouse",
    "oxen": "ox",
    "pocketknives": "pocketknife",
    "sports": "sport",
    "taxies": "taxi",
    "teeth": "tooth",
    "vases": "vas",  # the shortest of the words that the rules lead to
    "wives": "wife",
}


@dataclass(frozen=True)
class Lemmas:
    """How WordNet reads the words of one list."""

    irregular: dict[str, str]  # what no rule gives, and singulars that WordNet knows and the list does not
    lacking: frozenset[str]  # words of the list that WordNet lacks: it does not find them in their plurals

    def lemma(self, word: str, known: Collection[str]) -> str:
        """The shortest known form of a word, or the word itself if none is known."""
        if word in self.irregular:
            return self.irregular[word]
        forms = (word[: -len(end)] + new for end, new in ENDINGS.items() if word.endswith(end))
        found = [form for form in (word, *(f for f in forms if f not in self.lacking)) if form in known]
        return min(found, key=len, default=word)


COCO = Lemmas(
    IRREGULAR,
    frozenset(
        "biker bluejay brindle coworker firetruck hairdryer lenovo longboard macbook netbook paddleboat pitbull "
        "riverboat sailboard shortboard skimboard smartphone solider stovetop teddybear televison".split()
    ),
)
AMBER = Lemmas(
    IRREGULAR
    | {
        "chopsticks": "chopstick",  # the list has the plural alone, which so is never met
        "earrings": "earring",
        "leaves": "leaf",
        "potatoes": "potato",
        "slippers": "slipper",
        "sunglasses": "sunglass",
        "tomatoes": "tomato",
    },
    frozenset(
        "TV air-conditioning baconic bedsheet cann cathole closestool cooktop doghole e-book earing ebook "
        "electrombile hot kiwifruit paraglider pissoir rpoe sanitizer scoon seegull showerpuff streetlamp "
        "waterfont".split()
    ),
)
