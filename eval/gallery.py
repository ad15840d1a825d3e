"""Pictures with the answers of each run to the same question, and what became of them since the first run."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from eval.benches.coco_names import on_disk
from eval.page import data_uri
from eval.tables import Files, read_scores
from training.utils.answers.mentions import form
from training.utils.data.images import locate
from training.utils.data.json_text import read_json
from training.utils.data.record import MARKER, DataError, ImageError

OUTCOMES = {
    (True, False): "fixed",
    (False, True): "broken",
    (True, True): "still wrong",
    (False, False): "still right",
}
SHARES = {
    "fixed": 0.4,
    "broken": 0.25,
    "still wrong": 0.2,
    "still right": 0.15,
}  # of the pictures of a benchmark
SHOWN = 24  # pictures of a benchmark
LARGEST_BYTES = 60_000  # what is smaller goes into the page with all its pixels
LONGEST_TEXT = 2000  # characters of an answer or a question in the page


@dataclass(frozen=True)
class Question:
    image: str  # within the image folder
    text: str
    truth: str  # what a right answer says


@dataclass(frozen=True)
class Answer:
    run: str
    parts: tuple[tuple[str, bool], ...]  # stretches of the text, and which of them are invented objects
    wrong: bool
    missed: bool  # right so far as it goes, but something in the picture is left out


@dataclass(frozen=True)
class Entry:
    id: str
    bench: str
    question: Question
    answers: tuple[Answer, ...]  # the first run's comes first
    outcome: str
    picture: str = ""  # data URI; empty: there is no such picture in the folder


@dataclass(frozen=True)
class Gallery:
    bench: str
    before: str
    after: str
    counts: dict[str, int]  # of all answers that both runs gave
    entries: tuple[Entry, ...]  # some of each outcome


def read_questions(file: Path) -> dict[str, Question]:
    """By id: the demo's truth (`scenes` with their `objects`), or records of LLaVA's format."""
    if not file.is_file():
        raise DataError(f"{file}: no such file; expected the questions of the gallery")
    content = read_json(file)
    if isinstance(content, dict):
        scenes = content["scenes"]
        return {s["id"]: Question(s["image"], "", ", ".join(s["objects"])) for s in scenes}
    questions = {}
    for record in content:
        text = record["conversations"][0]["value"].replace(MARKER, "").strip()
        questions[record["id"]] = Question(record["image"], cut(text), cut(str(record.get("label", ""))))
    return questions


def is_wrong(item: dict) -> bool | None:
    """Whether a scored answer is wrong, by whatever its scorer wrote; none if that can't be told."""
    if isinstance(item.get("right"), bool):  # else a list, or a count, of several questions
        return not item["right"]
    for name, wrong in (("invented", bool), ("hallucinates", bool), ("correct", lambda right: not right)):
        if item.get(name) is not None:
            return wrong(item[name])
    return item["answer"] != item["label"] if {"answer", "label"} <= set(item) else None


def marked(text: str, invented: Sequence[str]) -> list[tuple[str, bool]]:
    """The text in stretches, and which of them are invented objects."""
    if not invented:
        return [(text, False)]
    parts = re.split(rf"\b({'|'.join(map(form, set(invented)))})\b", text, flags=re.IGNORECASE)
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def answer(run: str, item: dict) -> Answer:
    wrong = bool(is_wrong(item))
    missed = len(item.get("covered", [])) < item.get("num_objects", 0)
    return Answer(run, tuple(marked(cut(item["response"]), names_of(item))), wrong, missed)


def names_of(item: dict) -> list[str]:
    """The invented objects of an answer; a mention of CHAIR is a name and its class."""
    return [named if isinstance(named, str) else named[0] for named in item.get("invented", [])]


def cut(text: str) -> str:
    """A text that is not too long for a page."""
    rest = len(text) - LONGEST_TEXT
    return text if rest <= 0 else f"{text[:LONGEST_TEXT]} … ({rest:,} more characters)"


def gallery(
    files: Files, score: str, title: str, questions: Mapping[str, Question], folder: Path
) -> Gallery | None:
    """The answers that the scores of one name hold; none where fewer than two runs have them.

    The outcome compares the last run with the first. Of several samples to a question the first is shown.
    """
    by_run = {}
    for run, scores in files.items():
        if score in scores:
            items = read_scores(Path(scores[score])).get("per_item", [])
            told = [
                item for item in reversed(items) if is_wrong(item) is not None and item["id"] in questions
            ]
            by_run[run] = {item["id"]: item for item in told}
    by_run = {run: items for run, items in by_run.items() if items}
    if len(by_run) < 2:
        return None
    before, *_, after = by_run
    entries = []
    for name in reversed(by_run[before]):
        if name in by_run[after]:
            answers = tuple(answer(run, items[name]) for run, items in by_run.items() if name in items)
            outcome = OUTCOMES[answers[0].wrong, answers[-1].wrong]
            entries.append(Entry(name, title, questions[name], answers, outcome))
    counts = Counter(entry.outcome for entry in entries)
    shown = [with_picture(entry, folder) for entry in chosen(entries)]
    return Gallery(title, before, after, {name: counts[name] for name in SHARES}, tuple(shown))


def chosen(entries: Sequence[Entry]) -> list[Entry]:
    """Some of each outcome, on pictures of their own; places that one outcome can't fill go to the next."""
    found, places = [], 0.0
    for outcome, share in SHARES.items():
        places += share * SHOWN
        by_picture = {e.question.image: e for e in reversed(entries) if e.outcome == outcome}
        found += [*reversed(by_picture.values())][: max(0, round(places) - len(found))]
    return found


def with_picture(entry: Entry, folder: Path) -> Entry:
    """With its picture from the folder, and from nowhere else; without one where none is there."""
    name = entry.question.image
    try:
        return replace(entry, picture=data_uri(locate(on_disk(name, folder), folder), LARGEST_BYTES))
    except ImageError:
        return entry
