"""The singular of a noun, for a closed vocabulary: the rules of WordNet's morphy, without its data.

WordNet tries what may stand in place of an ending and keeps what is a word. Here a word is what the benchmark's own
list holds, so that list takes the place of the dictionary. What WordNet reads in its own way stands here too: the
official scorers read it so.
"""

from collections.abc import Collection

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
# Words of COCO's list that WordNet lacks: it does not find them in their plurals.
LACKING = frozenset(
    "biker bluejay brindle coworker firetruck hairdryer lenovo longboard macbook netbook paddleboat pitbull "
    "riverboat sailboard shortboard skimboard smartphone solider stovetop teddybear televison".split()
)


def lemma(word: str, known: Collection[str]) -> str:
    """The shortest known form of a word, or the word itself if none is known."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    forms = (word[: -len(end)] + new for end, new in ENDINGS.items() if word.endswith(end))
    found = [form for form in (word, *(form for form in forms if form not in LACKING)) if form in known]
    return min(found, key=len, default=word)
