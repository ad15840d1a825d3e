"""Objects that a text names, and CHAIR on them: worked by hand, with the names of a small list."""

import base64
import json
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.benches import chair, coco
from eval.benches.table import BENCHES
from tests.conftest import picture
from tests.eval.conftest import lines
from training.utils.answers.coco_objects import read_vocabulary
from training.utils.data.record import DataError

SYNONYMS = """\
person, man, woman, child, children, baby
cat, kitten
dog, puppy
bear
bus, minibus
knife, pocketknife
chair, seat
toilet
hot dog
wine glass
tie, bow tie
train
skis, ski
clock
"""


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    file = tmp_path_factory.mktemp("words") / "synonyms.txt"
    file.write_text(SYNONYMS)
    return read_vocabulary(file)


@pytest.mark.parametrize(
    ("text", "classes"),
    [
        ("Two CATS, a kitten and a bus.", ["cat", "cat", "bus"]),  # every mention counts
        ("buses and minibuses", ["bus", "bus"]),
        ("women with children", ["person", "person"]),
        ("knives, pocketknives", ["knife", "knife"]),
        ("a pair of skis", ["skis"]),
        ("a hot dog and a hot, dog", ["hot dog", "dog"]),  # a mark parts the two words
        ("three hot dogs", ["hot dog"]),
        ("wine glasses", ["wine glass"]),
        ("a baby bear, an adult cat", ["bear", "cat"]),  # and no baby
        ("a man in a bow tie", ["person", "tie"]),
        ("the passenger train", ["train"]),
        ("the seat of the toilet", ["toilet"]),
        ("a toilet seat", ["toilet"]),
        ("a seat", ["chair"]),
        ("the man's dog; a dog-sized category of hatred", ["person", "dog"]),
        ("a bus.", ["bus"]),
        ("12 o'clock, one O’Clock, a clock", ["clock"]),
        ("glasses", []),
        ("", []),
    ],
)
def test_the_objects_that_a_text_names(text, classes, words):
    assert [name for _, name in words.mentions(text)] == classes


def test_a_list_of_synonyms_says_what_is_wrong_with_it(write):
    with pytest.raises(DataError, match="no.txt: no such file"):
        read_vocabulary(write("a.txt", "").with_name("no.txt"))
    with pytest.raises(DataError, match="'ram' stands in sheep and in computer"):
        read_vocabulary(write("a.txt", "sheep, ram\ncomputer, ram\n"))
    with pytest.raises(DataError, match="is empty"):
        read_vocabulary(write("a.txt", "\n"))


def official(write):
    """Picture 7 holds a cat and, says a caption, a man; picture 8 a bus."""
    categories = [{"id": 17, "name": "cat"}, {"id": 6, "name": "bus"}]
    images = [{"id": number, "file_name": f"COCO_val2014_{number:012d}.jpg"} for number in (7, 8)]
    instances = {"info": {}, "images": images, "categories": categories}
    instances["annotations"] = [{"image_id": 7, "category_id": 17}, {"image_id": 8, "category_id": 6}]
    captions = {
        "info": {},
        "images": images,
        "annotations": [{"image_id": 7, "caption": "A man with a kitten."}],
    }
    return [write("instances_val2014.json", instances), write("captions_val2014.json", captions)]


def test_worked_by_hand(write, words):
    """Mentions: cat, man, dog, dog | bus | none = 5, of them 2 invented, in 1 of 3 answers, 2 of which name objects.
    Classes that are there: cat and person, bus, bus = 4 over the answers, covered cat, person, bus."""
    asked = coco.load(official(write))
    assert [(question.id, question.images) for question in asked] == [
        ("7", ("COCO_val2014_000000000007.jpg",)),
        ("8", ("COCO_val2014_000000000008.jpg",)),
    ]
    scored = chair.score(asked, {"7": ["A cat, a man, a dog and a dog."], "8": ["Two buses.", ""]}, words)
    assert scored.metrics == pytest.approx(
        {"CHAIR_i": 40, "CHAIR_s": 100 / 3, "CHAIR_s_refine": 50, "recall": 75}
    )
    assert scored.per_item[0]["invented"] == [("dog", "dog"), ("dog", "dog")]
    halbench = chair.score_halbench(asked, {"7": ["A cat, a man, a dog and a dog."]}, words)
    assert (halbench.metrics["response_hall"], halbench.metrics["mention_hall"]) == (100, 50)
    assert halbench.warnings == ["2 questions, expected 300"]


def caps_boxes(number: int, *captions: str) -> dict:
    name = f"COCO_val2014_{number:012d}.jpg"
    return {
        "image": name,
        "captions": list(captions),
        "instances": [{"category": "cat", "bbox": [0, 0, 1, 1]}],
    }


CAPTIONS = st.lists(st.sampled_from(SYNONYMS.replace("\n", ", ").split(", ")[:-1]), min_size=1, max_size=9)


@given(st.lists(CAPTIONS, min_size=1, max_size=4), st.randoms())
def test_reference_captions_invent_nothing_and_order_and_doubling_do_not_matter(words, drawn, random):
    texts = [f"the {' and the '.join(names)}." for names in drawn]
    asked = [
        coco.Question(str(number), "?", (), coco.Picture("", {"cat"}, [text]))
        for number, text in enumerate(texts)
    ]
    own = {str(number): [text] for number, text in enumerate(texts)}
    scored = chair.score(asked, own, words)
    assert scored.metrics["CHAIR_i"] == scored.metrics["CHAIR_s"] == 0
    others = {str(number): [text + " A bear."] for number, text in enumerate(texts[::-1])}
    once = chair.score(asked, others, words).metrics
    assert chair.score(random.sample(asked, len(asked)), others, words).metrics == pytest.approx(once)
    doubled = {name: texts * 2 for name, texts in others.items()}
    assert chair.score(asked, doubled, words).metrics == pytest.approx(once)


def test_captions_and_boxes_may_come_as_lines_and_questions_may_come_with_pictures(write):
    buffer = BytesIO()
    picture(1).save(buffer, format="PNG")
    encoded = base64.b64encode(buffer.getvalue()).decode()
    questions = [
        {"image_id": 7, "question": "What is here?", "image": encoded},
        {"image_id": 9, "prompt": "Describe."},
    ]
    write("halbench/caps_boxes.jsonl", lines(caps_boxes(7, "A cat."), caps_boxes(9), caps_boxes(11)))
    folder = write("halbench/questions.jsonl", lines(*questions)).parent
    asked = coco.load([folder])
    assert [(question.id, question.prompt) for question in asked] == [
        ("7", "What is here?"),
        ("9", "Describe."),
    ]
    assert asked[0].images[0].tobytes() == picture(1).tobytes()
    assert asked[1].images == ("COCO_val2014_000000000009.jpg",)
    assert asked[0].truth.captions == ["A cat."] and asked[0].truth.categories == {"cat"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lines({"image_id": 5, "question": "?"}), r"q.jsonl\[0\]: image_id 5 has no instances and captions"),
        (lines({"a": 1}), r"q.jsonl\[0\]: found a; expected instances or captions"),
        (lines({**caps_boxes(3), "image": "cat.jpg"}), "'cat.jpg': its name ends in no number"),
    ],
)
def test_files_that_do_not_go_together_say_so(content, message, write):
    with pytest.raises(DataError, match=message):
        BENCHES["chair"].questions([str(write("q.jsonl", content))])


def test_a_category_without_a_class_is_an_error_not_a_hallucination(write, words):
    entry = caps_boxes(7)
    entry["instances"] = [{"category": "unicorn"}]
    asked = coco.load([write("q.jsonl", json.dumps(entry))])
    with pytest.raises(DataError, match="--synonyms: lacks unicorn"):
        chair.score(asked, {"7": ["a cat"]}, words)
