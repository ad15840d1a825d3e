"""What a scorer gives back, and how answers meet their questions."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from eval.benches.question import Question
from training.utils.data.record import MARKER, DataError

Answers = Mapping[str, Sequence[Any]]  # by the id of the question: one, or several samples that all count


@dataclass
class Scored:
    metrics: dict[str, float]  # in percent, unless the name says otherwise
    per_item: list[dict[str, Any]]
    variant: str  # of the protocol, so that nobody compares what can't be compared
    groups: dict[str, dict[str, float]] = field(default_factory=dict)  # figures of the parts
    parse_failures: int = 0  # answers that could not be read; what they count as is part of the protocol
    warnings: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        return len(self.per_item)


def pairs(questions: Sequence[Question], answers: Answers) -> Iterator[tuple[Question, Any]]:
    """Each answer with its question. Questions without an answer do not come up: coverage tells of them."""
    for question in questions:
        for answer in answers.get(question.id, ()):
            yield question, answer


def whole_groups(
    questions: Sequence[Question], answers: Answers, of: str = "groups"
) -> tuple[list[tuple[str, list[Question], tuple[str, ...]]], list[str]]:
    """The groups whose questions were all answered, with an answer to each question, and a warning of the others.

    With several samples a group comes up as often: the k-th answers to its questions belong together.

    Args:
        of: what a group is called in the warning.

    Raises:
        DataError: its questions have different numbers of samples.
    """
    groups: dict[str, list[Question]] = {}
    for question in questions:
        groups.setdefault(question.group, []).append(question)
    found, incomplete = [], 0
    for name, asked in groups.items():
        given = [answers.get(question.id, ()) for question in asked]
        if all(given):
            if len(numbers := {len(texts) for texts in given}) > 1:
                raise DataError(
                    f"{name}: its questions have {min(numbers)} to {max(numbers)} samples; expected as many of each"
                )
            found += [(name, asked, texts) for texts in zip(*given, strict=True)]
        else:
            incomplete += any(map(len, given))
    return found, [f"{incomplete} {of} were answered in part: not scored"] * bool(incomplete)


def read_groups(
    groups: Sequence[tuple[str, list[Question], tuple[str, ...]]],
    read: Callable[[str, Question], str],
    truth: Callable[[Question], str] = lambda question: question.truth,
    part: str = "",
) -> list[dict[str, Any]]:
    """An item for each of `whole_groups`: what its answers say, and whether that is right.

    Args:
        read: what an answer to a question says; empty: it can't be read.
        part: what the first part of a group's name is called in an item; empty: it is not there.
    """
    items = []
    for name, asked, texts in groups:
        said = [read(text, question) for question, text in zip(asked, texts, strict=True)]
        right = [given == truth(question) for question, given in zip(asked, said, strict=True)]
        of_part = {part: name.split("/")[0]} if part else {}
        items.append({"id": name} | of_part | {"responses": list(texts), "answers": said, "right": right})
    return items


def by_part(items: Iterable[dict[str, Any]], part: str) -> dict[str, list[dict[str, Any]]]:
    """Items by what a field of them says, in its order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for item in items:
        found.setdefault(item[part], []).append(item)
    return dict(sorted(found.items()))


def num_unread(items: Sequence[dict[str, Any]]) -> int:
    """How many answers of items of groups can't be read."""
    return sum(item["answers"].count("") for item in items)


def percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def match(
    questions: Sequence[Question], predictions: Sequence[dict], read: Callable[[dict], list]
) -> tuple[dict[str, list], list[str]]:
    """The answers to each question, and a warning for whatever is missing, double, unknown, to another prompt, or no
    answer by its kind.

    Args:
        read: the answers of a line; None for what is there and is none. It counts as an empty text.

    Raises:
        DataError: every line that says what was asked says something else than its question, and the questions are
            not all in the same words: ids that happen to be equal.
    """
    found: dict[str, list] = {}
    double = unknown = odd = told = 0
    other: list[str] = []
    known = {question.id: question.prompt for question in questions}
    for line in predictions:
        name = str(line["id"])
        if name not in known:
            unknown += 1
        elif name in found:
            double += 1
        else:
            given = read(line)
            odd += given.count(None)
            found[name] = ["" if answer is None else answer for answer in given]
            if asked := prompt_of(line):
                told += 1
                other += [name] * (not is_asked(known[name], asked))
    if other and len(other) == told and len(set(map(bare, known.values()))) > 1:
        prompts = {str(line["id"]): prompt_of(line) for line in reversed(predictions)}
        raise DataError(
            f"id {other[0]}: answers {prompts[other[0]][:80]!r}, and the question is {known[other[0]][:80]!r}; so it "
            f"is with all {told} that say what was asked: expected answers to these questions. If they were asked "
            "in other words on purpose, leave `prompt` out of the answers"
        )
    notes = {
        "without an answer: not scored": len(known) - len(found),
        "answered twice: the first answer counts": double,
        "not among the questions: not scored": unknown,
        f"answered where the prompt was another than the question, as id {''.join(other[:1])}": len(other),
    }
    warnings = [f"{count} of {len(known)} ids {note}" for note, count in notes.items() if count]
    if odd:
        warnings.append(
            f"{odd} responses are no text (null, a number, a list): each counts as an empty answer"
        )
    return found, warnings


def best_alone(line: dict) -> dict:
    """A prediction without its samples: `response` is the one that counts."""
    return {name: line.get(name) for name in ("id", "prompt", "response")}


def prompt_of(line: dict) -> str:
    """What a prediction says that was asked; empty where it does not say, as beside scores."""
    prompt = line.get("prompt")
    return prompt if isinstance(prompt, str) else ""


def is_asked(question: str, prompt: str) -> bool:
    """Whether a prompt is the question, with or without an instruction before or behind it."""
    ours, theirs = bare(question), bare(prompt)
    return not ours or not theirs or ours in theirs or theirs in ours


def bare(prompt: str) -> str:
    """A prompt without image markers, and without regard to blanks."""
    return " ".join(prompt.replace(MARKER, " ").split())


def responses(line: dict) -> list[str | None]:
    """The texts of a prediction: all samples, or the one response. None stands for what is no text."""
    given = line.get("responses") or line.get("response")
    samples = given if isinstance(given, list) and "responses" in line else [given]
    return [text if isinstance(text, str) else None for text in samples]


def scores(line: dict) -> list[list[float]]:
    """What a reward model gave to the ranked responses of a question: one answer, in their order.

    NaN stands for what is no number; where there is no list of them it is empty.
    """
    given = line.get("scores")
    if not isinstance(given, list):
        return [[]]
    return [[math.nan if isinstance(s, bool) or not isinstance(s, int | float) else float(s) for s in given]]
