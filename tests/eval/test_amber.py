"""AMBER's two parts, worked by hand on a small folder of its form."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benches import amber, amber_discriminative, amber_generative
from eval.benches.question import Question
from eval.benches.table import BENCHES
from tests.eval.conftest import answers
from training.utils.data.record import DataError

RELATION = {
    "man": ["person", "boy"],
    "dog": ["puppy"],
    "beach": ["sand", "dog"],
    "umbrella": ["parasol"],
    "sea": [],
    "sign": [],
}
NOTES = [
    {"id": 1, "type": "generative", "truth": ["man", "dog", "beach"], "hallu": ["umbrella", "sea"]},
    {"id": 2, "type": "generative", "truth": ["sea"], "hallu": []},
    {"id": 3, "type": "discriminative-hallucination", "truth": "no"},
    {"id": 4, "type": "discriminative-attribute-state", "truth": "yes"},
    {"id": 5, "type": "discriminative-attribute-action", "truth": "no"},
    {"id": 6, "type": "discriminative-relation", "truth": "yes"},
    {"id": 7, "type": "relation", "truth": "no"},
]


@pytest.fixture
def folder(write):
    queries = [{"id": note["id"], "image": f"AMBER_{note['id']}.jpg", "query": "?"} for note in NOTES]
    write("data/annotations.json", NOTES)
    write("data/relation.json", RELATION)
    write("data/safe_words.txt", "sign\r\norange")
    return write("data/query/query_all.json", queries).parent.parent


def test_descriptions_worked_by_hand(folder):
    """Answer 1 names man (true), puppies (dog), dog (which is first associated with the beach), parasol (tempting,
    invented), sign (safe), sea (tempting, invented); answer 2 names nothing that AMBER knows.
    Nouns 6, invented 2; of 3 + 1 true objects 3 are covered; of 2 tempting ones 2."""
    asked = amber.load_generative([folder])
    assert [question.id for question in asked] == ["1", "2"]
    texts = answers("A man, puppies, a dog, a parasol, a sign, a sea.", "A MAN at the Sea? No: a castle.")
    scored = amber_generative.score(asked, texts)
    assert scored.metrics == {"CHAIR": 33.3, "Cover": 75.0, "Hal": 50.0, "Cog": 100.0}
    assert scored.per_item[0]["named"] == ["man", "puppy", "dog", "parasol", "sign", "sea"]
    assert scored.per_item[0]["covered"] == ["beach", "dog", "man"]
    assert scored.per_item[1]["named"] == []  # the case counts, as in the official scorer


def test_similar_words_cover_what_is_true_and_tempt_all_the_same(folder):
    """With `boat` and `sea` alike: sea in answer 1 is tempting; a puppy is as good as a sea where the sea is true."""
    note = amber.load_generative([folder])[1].truth
    alike = {("puppy", "sea"), ("parasol", "umbrella")}
    invented, covered, tempted = amber_generative.judge(
        ["puppy", "parasol", "sign"], note, lambda one, other: one == other or (one, other) in alike
    )
    assert (invented, covered, tempted) == (["parasol"], {0}, set())


def test_yes_no_worked_by_hand(folder):
    """Said no to 3 (no) and 4 (yes), yes to 5 (no) and 6 (yes), nothing to 7 (no): 2 of 5, P 1 of 2, R 1 of 3."""
    asked = amber.load_discriminative([folder])
    given_answers = {"3": ["No, there is none."], "4": ["no"], "5": ["Yes"], "6": ["yes."], "7": [""]}
    scored = amber_discriminative.score(asked, given_answers)
    assert scored.metrics == {"accuracy": 40.0, "precision": 50.0, "recall": 33.3, "F1": 40.0}
    assert scored.parse_failures == 1
    assert scored.groups["existence"] == {"accuracy": 100, "precision": 100, "recall": 100, "F1": 100, "n": 1}
    assert scored.groups["attribute"]["accuracy"] == 0 and scored.groups["attribute"]["n"] == 2
    assert scored.groups["relation"]["n"] == 2 and scored.groups["relation"]["F1"] == 0
    assert "number" not in scored.groups


def said(kind: str, *said_and_true: str):
    """Questions of a kind and their answers, from words like `no yes`: said no where yes is true."""
    pairs = [pair.split() for pair in said_and_true]
    asked = [Question(str(i), "?", (), true, kind) for i, (_, true) in enumerate(pairs)]
    return asked, {str(i): [word] for i, (word, _) in enumerate(pairs)}


def test_f1_comes_from_rounded_rates():
    """P = 2/3 is 66.7 and R = 2/4: 2 * 0.667 * 0.5 / (1.167 + 0.0001) = 57.15 %: 57.2; from 2/3 it is 57.1."""
    asked, texts = said("relation", "no no", "no no", "no yes", "yes no", "yes no")
    metrics = amber_discriminative.score(asked, texts).metrics
    assert metrics == {"accuracy": 40.0, "precision": 66.7, "recall": 50.0, "F1": 57.2}


def test_existence_has_an_epsilon_of_its_own():
    """P = 1 and R = 0.5: 2 * 0.5 / (1.5 + 0.001) is 66.6 %; with 0.0001, as all others, 66.7."""
    asked, texts = said("discriminative-hallucination", "no no", "yes no")
    scored = amber_discriminative.score(asked, texts)
    assert (scored.groups["existence"]["F1"], scored.metrics["F1"]) == (66.6, 66.7)


@pytest.mark.parametrize(
    ("text", "first", "exact"),
    [
        ("No", "no", "no"),
        ("No.", "no", "unknown"),
        ("NO!", "no", "unknown"),
        ("yes", "yes", "unknown"),
        ("It is: Yes, no doubt", "yes", "unknown"),
        ("not at all", "unknown", "unknown"),
        ("Nothing", "unknown", "unknown"),
        ("", "unknown", "unknown"),
    ],
)
def test_how_an_answer_is_read(text, first, exact):
    assert (amber_discriminative.first(text), amber_discriminative.exact(text)) == (first, exact)


def test_the_amber_score_is_of_both_parts_or_none(folder):
    """CHAIR 25 (man, boy and dog true, sea invented), F1 100 (no to all that is no): (100 - 25 + 100) / 2."""
    asked = amber.load([folder])
    texts = {
        "1": ["a man, a boy, a dog, a sea"],
        "3": ["No"],
        "5": ["No"],
        "7": ["No"],
        "4": ["Yes"],
        "6": ["Yes"],
    }
    scored = amber.score(asked, texts)
    assert scored.metrics["CHAIR"] == 25 and scored.metrics["F1"] == 100
    assert scored.metrics["AMBER"] == 87.5
    assert scored.n == 6
    assert "AMBER" not in amber.score(asked, {"1": ["a man"]}).metrics


def test_a_file_of_queries_stands_for_its_folder(folder, write):
    file = write(
        "data/query/query_generative.json", [{"id": 2, "image": "a.jpg", "query": "Describe this image."}]
    )
    (asked,) = amber.load([file])
    assert (asked.id, asked.prompt, asked.images) == ("2", "Describe this image.", ("a.jpg",))
    lonely = write("elsewhere/deep/query_all.json", [])
    with pytest.raises(DataError, match="annotations.json lies neither beside it nor a folder up"):
        amber.load([lonely])
    with pytest.raises(DataError, match=r"annotations.json: no such file"):
        BENCHES["amber"].questions([str(lonely.parent.parent)])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"similarity": "spacy"}, "--similarity spacy: needs"), ({"nouns": "nltk"}, "--nouns nltk: needs")],
)
def test_what_is_not_installed_is_named_with_the_way_around_it(options, message, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "spacy", None)
    monkeypatch.setitem(sys.modules, "nltk", None)
    with pytest.raises(DataError, match=message):
        amber_generative.score(amber.load_generative([folder]), answers("a man"), **options)


KINDS = ["discriminative-hallucination", "discriminative-attribute-number", "relation"]
ANSWERED = st.lists(
    st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(KINDS), st.sampled_from(["Yes", "No"]))
)


@given(ANSWERED, st.randoms())
def test_order_and_doubling_do_not_matter(answered, random):
    asked = [Question(str(i), "?", (), label, kind) for i, (label, kind, _) in enumerate(answered)]
    texts = {str(i): [text] for i, (_, _, text) in enumerate(answered)}
    once = amber_discriminative.score(asked, texts).metrics
    assert amber_discriminative.score(random.sample(asked, len(asked)), texts).metrics == once
    assert amber_discriminative.score(asked, {name: text * 2 for name, text in texts.items()}).metrics == once


@pytest.mark.parametrize(
    ("text", "read"),
    [  # of nltk's WordNetLemmatizer; the first list is in AMBER's, as are the second's words
        ("tomatoes potatoes leaf leave dogs knives", ["tomato", "potato", "leave", "dog", "knife"]),
        ("leaves sunglasses chopsticks earrings slippers", []),
        (
            "TV TVs cooktop cooktops ebook ebooks",
            ["TV", "cooktop", "ebook"],
        ),  # of what WordNet lacks no plural
        ("It is 12 o'clock, or 3 o’clock: a clock, two clocks.", ["clock", "clock"]),
    ],
)
def test_nouns_are_reduced_as_wordnet_does_for_ambers_list(text, read):
    known = (
        "tomato potato leave dog knife sunglasses chopsticks earrings slippers TV cooktop ebook clock".split()
    )
    assert amber_generative.known_words(text, frozenset(known)) == read
