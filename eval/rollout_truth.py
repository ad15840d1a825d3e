"""Which words of sampled answers name what is not in the picture, by the scorers of the benchmarks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.benches import chair, coco, descriptions
from eval.benches.question import Question
from eval.gallery import names_of
from eval.rollout_groups import Group
from training.utils.answers.coco_objects import read_vocabulary
from training.utils.answers.coco_pictures import number_in
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError

Invented = dict[
    tuple[str, str], list[str]
]  # names, by the group's id and the answer; no entry: truth is unknown


def find_invented(groups: Sequence[Group], truth: Path, synonyms: str) -> Invented:
    """The objects that answers name and that are not there.

    Args:
        truth: a demo world's `truth_*.json`, or annotations of COCO, whose objects are found as CHAIR does.
        synonyms: CHAIR's file of them; empty: none.

    Raises:
        DataError: a file is missing or of another kind, or knows none of the groups.
    """
    if not truth.is_file():
        raise DataError(f"--truth {truth}: no such file; expected a truth_*.json or annotations of COCO")
    content = read_json(truth) if truth.suffix == ".json" else None
    is_world = isinstance(content, dict) and {"objects", "scenes"} <= content.keys()
    if not is_world and not synonyms:
        raise DataError(
            f"--truth {truth}: no truth of a demo world, which has `objects` and `scenes`; for annotations of COCO "
            "give CHAIR's --synonyms too"
        )
    questions = (descriptions if is_world else coco).load([truth])
    known = {question.id if is_world else number_of(question): question.id for question in questions}
    of_question: dict[str, list[Group]] = {}
    for group in groups:
        name = next((known[name] for name in names_of_truth(group, is_world) if name in known), None)
        if name is not None:
            of_question.setdefault(name, []).append(group)
    if not of_question:
        raise DataError(
            f"--truth {truth}: knows none of the {len(groups)} groups, such as {groups[0].id!r}; expected the truth "
            "of the pictures that the run was trained on"
        )
    answers = {
        name: [*dict.fromkeys(answer.response for group in some for answer in group.answers)]
        for name, some in of_question.items()
    }
    invented = per_answer(questions, answers, synonyms if not is_world else "")
    return {
        (group.id, answer.response): invented[name, answer.response]
        for name, some in of_question.items()
        for group in some
        for answer in group.answers
    }


def number_of(question: Question) -> str | None:
    """COCO's number of its picture; none where nothing tells."""
    (image,) = question.images
    name = question.truth.file or image
    if not name:  # annotations without `images`: their questions have the numbers as ids
        return question.id
    number = number_in(name) if isinstance(name, str) else None
    return None if number is None else str(number)


def names_of_truth(group: Group, is_world: bool) -> Iterator[str]:
    """What the truth of its picture may stand under: its id, or the number of its picture. Of COCO the number alone
    counts: an id may look like one, since a record that names none has its place in the file as id."""
    if is_world:
        yield group.id
    number = number_in(group.images[0]) if len(group.images) == 1 else None
    if number is not None:
        yield str(number)


def per_answer(questions: Sequence[Question], answers: dict[str, list[str]], synonyms: str) -> Invented:
    asked = [question for question in questions if question.id in answers]
    if synonyms:
        scored = chair.score(asked, answers, read_vocabulary(Path(synonyms)))
    else:
        scored = descriptions.score(asked, answers)
    return {(item["id"], item["response"]): names_of(item) for item in scored.per_item}
