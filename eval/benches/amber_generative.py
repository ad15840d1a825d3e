"""AMBER's generative part: free descriptions against the objects that are there and those that tempt.

Each noun of an answer that the benchmark knows is, in this order: safe anywhere; true, or associated with what is
true, and covers that; or else invented, unless it is similar to what is true. An invented noun that is, or is similar
to, one that the picture tempts to counts for Cog.

    CHAIR = invented nouns / nouns            Cover = covered objects / objects that are there
    Hal = answers with an invented noun / answers     Cog = tempting objects that were named / tempting objects

Lower is better for CHAIR, Hal and Cog.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, pairs, percent
from eval.uncertainty import Total, average, share
from training.utils.answers.lemmas import AMBER
from training.utils.data.record import DataError

SIMILAR_FROM = 0.8  # the official threshold, exclusive
Similar = Callable[[str, str], bool]
Nouns = Callable[[str, frozenset[str]], list[str]]


@dataclass(frozen=True)
class Associations:
    related: dict[str, tuple[str, ...]]  # by word
    safe: frozenset[str]  # never counted as invented

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        return frozenset(self.related).union(*self.related.values())


@dataclass(frozen=True)
class Annotation:
    truth: tuple[str, ...]  # objects that are there
    hallu: tuple[str, ...]  # objects that the picture tempts to
    associations: Associations

    def targets(self, objects: tuple[str, ...]) -> list[tuple[str, int]]:
        """Words, and which of the objects each stands for: first those of the associations, then the objects."""
        related = [
            (word, place)
            for place, name in enumerate(objects)
            for word in self.associations.related.get(name, ())
        ]
        return related + [(name, place) for place, name in enumerate(objects)]


def score(
    questions: Sequence[Question], answers: Answers, similarity: str = "exact", nouns: str = "vocabulary"
) -> Scored:
    """Rates over all answers, rounded as the official scorer prints them.

    Args:
        similarity: exact, or spacy: vectors of en_core_web_lg, as the paper has it.
        nouns: vocabulary: every word of an answer that the benchmark knows, or nltk: those that are tagged as nouns,
            as the paper has it.
    """
    similar, find = SIMILARITIES[similarity](), NOUNS[nouns]()
    per_item = []
    for question, text in pairs(questions, answers):
        note = question.truth
        named = find(text, note.associations.vocabulary)
        invented, covered, tempted = judge(named, note, similar)
        per_item.append(
            {
                "id": question.id,
                "response": text,
                "named": named,
                "invented": invented,
                "covered": sorted(note.truth[place] for place in covered),
                "tempted": sorted(note.hallu[place] for place in tempted),
                "objects": note.truth,
                "tempting": note.hallu,
            }
        )

    def share(part: str, whole: str) -> float:
        return round(percent(*(sum(len(item[name]) for item in per_item) for name in (part, whole))), 1)

    metrics = {
        "CHAIR": share("invented", "named"),
        "Cover": share("covered", "objects"),
        "Hal": round(percent(sum(bool(item["invented"]) for item in per_item), len(per_item)), 1),
        "Cog": share("tempted", "tempting"),
    }
    variant = f"AMBER generative, nouns: {nouns}, similarity: {similarity}"
    named = any(item["named"] for item in per_item)
    warnings = (
        [] if named or not per_item else ["no answer names a noun that AMBER knows: CHAIR is of nothing"]
    )
    return Scored(metrics if per_item else {}, per_item, variant, warnings=warnings)


def judge(nouns: Sequence[str], note: Annotation, similar: Similar) -> tuple[list[str], set[int], set[int]]:
    """Invented nouns, places of the covered true objects, and places of the tempting ones that were named."""
    true, tempting = note.targets(note.truth), note.targets(note.hallu)
    invented, covered, tempted = [], set(), set()
    for noun in nouns:
        if noun in note.associations.safe:
            continue
        place = first(true, noun, str.__eq__)
        if place is None:
            tempted |= {first(tempting, noun, str.__eq__), first(tempting, noun, similar)}
            place = first(true, noun, similar)
        if place is None:
            invented.append(noun)
        else:
            covered.add(place)
    return invented, covered, tempted - {None}


def first(targets: Sequence[tuple[str, int]], noun: str, similar: Similar) -> int | None:
    """Which object the first similar word stands for."""
    return next((place for word, place in targets if similar(noun, word)), None)


def known_words(text: str, vocabulary: frozenset[str]) -> list[str]:
    found = re.findall(r"\b[oO]['’]clock\b|\w+(?:-\w+)*", text)
    words = (AMBER.lemma(word, vocabulary) for word in found)
    return [word for word in words if word in vocabulary]


def tagged_nouns() -> Nouns:
    try:
        import nltk
        from nltk.stem import WordNetLemmatizer
    except ImportError:
        raise DataError(
            "--nouns nltk: needs the package nltk; pip install nltk, or --nouns vocabulary"
        ) from None
    lemmatizer = WordNetLemmatizer()

    def find(text: str, vocabulary: frozenset[str]) -> list[str]:
        try:
            tagged = nltk.pos_tag(nltk.word_tokenize(text))
            words = [lemmatizer.lemmatize(word) for word, tag in tagged if tag.startswith("NN")]
        except LookupError:
            raise DataError(
                "--nouns nltk: its data are missing; python -m nltk.downloader punkt_tab "
                "averaged_perceptron_tagger_eng wordnet"
            ) from None
        return [word for word in words if word in vocabulary]

    return find


def vectors() -> Similar:
    try:
        import spacy

        model = spacy.load("en_core_web_lg")
    except (ImportError, OSError):
        raise DataError(
            "--similarity spacy: needs the package spacy and its model; pip install spacy, "
            "python -m spacy download en_core_web_lg; or --similarity exact"
        ) from None
    read = cache(model)
    return cache(lambda one, other: read(one).similarity(read(other)) > SIMILAR_FROM)


SIMILARITIES: dict[str, Callable[[], Similar]] = {"exact": lambda: str.__eq__, "spacy": vectors}
NOUNS: dict[str, Callable[[], Nouns]] = {"vocabulary": lambda: known_words, "nltk": tagged_nouns}


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample, without rounding."""

    def sizes(name: str) -> list[int]:
        return [len(item[name]) for item in items]

    return {
        "CHAIR": share(total, sizes("invented"), sizes("named")),
        "Cover": share(total, sizes("covered"), sizes("objects")),
        "Hal": 100 * average(total, [bool(item["invented"]) for item in items]),
        "Cog": share(total, sizes("tempted"), sizes("tempting")),
    }
