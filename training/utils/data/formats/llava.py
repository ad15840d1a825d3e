"""LLaVA's `conversations`, and the preference sets that are built on them."""

from typing import Any

from ..record import DataError, Turn
from .dialogue import Dialogue, read_answer, read_messages, read_one_answer
from .row import Row
from .spelled import Spelled


def spelled(found: Dialogue, scores: tuple[float, ...] | None = None, **more: Any) -> Spelled:
    """A dialogue as a record whose id, pictures of keys and origin are still to be read."""
    return Spelled(None, found.images, found.turns, found.responses, scores, system=found.system, **more)


def read_conversation(row: Row) -> Spelled:
    """LLaVA, LLaMA-Factory's sharegpt form, VLM-R1, vision-feedback-mix-binarized (`preference_values`).

    The last answer may be a list of answers, the best first, or be scored by `score` or `scores`. `critiques` are
    texts about the answers, one for each.
    """
    key = next(key for key in ("conversations", "conversation") if key in row)
    found = read_messages(row.rows(key, each="turn"), row.what(key))
    scores = None
    if "scores" in row or "score" in row:
        key = "scores" if "scores" in row else "score"
        value = row.fields[key]
        scores = tuple(row.numbers(key) if isinstance(value, list) else [row.number(key)])
        if len(scores) != len(found.responses):
            raise DataError(
                f"found {len(scores)} score(s) for {len(found.responses)} response(s); expected one for each"
            )
    critiques = row.texts("critiques") if "critiques" in row else []
    if critiques and len(critiques) != len(found.responses):
        raise DataError(
            f"`critiques` holds {len(critiques)} for {len(found.responses)} response(s); expected one for each"
        )
    return spelled(found, scores, critiques=critiques)


def read_texts(row: Row) -> Spelled:
    """The Cauldron, FineVision: `texts` holds the questions and answers, each pair an object."""
    pairs = row.rows("texts")
    if not pairs:
        raise DataError(f"{row.what('texts')} is empty; expected objects with `user` and `assistant`")
    turns = [
        turn
        for pair in pairs
        for turn in (Turn("user", pair.text("user")), Turn("assistant", pair.text("assistant")))
    ]
    *turns, answer = turns
    return spelled(Dialogue(turns, [answer.text] if answer.text.strip() else []))


def read_rejected_conversations(row: Row) -> Spelled:
    """POVID: the whole conversation twice, with the better and the worse answer."""
    found = read_messages(row.rows("conversations", each="turn"), row.what("conversations"))
    return ranked(found, row, "rejected_conversations")


def ranked(found: Dialogue, row: Row, *worse: str) -> Spelled:
    """A dialogue that ends with its better answer, and keys that hold a worse one, or the dialogue with it."""
    if len(found.responses) != 1:
        raise DataError(
            f"found {len(found.responses)} answers at the end beside {row.what(worse[0])}; expected one"
        )
    for key in worse:
        other = read_answer(row, key)
        if other.turns and (other.turns, other.system or found.system) != (found.turns, found.system):
            raise DataError(f"{row.what(key)} holds another prompt; expected the same with another answer")
        if len(other.responses) != 1:
            raise DataError(f"{row.what(key)} holds {len(other.responses)} answers; expected one")
        found.responses += other.responses
    return spelled(found)


def read_llava_rlhf(row: Row) -> Spelled:
    """LLaVA-Human-Preference-10K of LLaVA-RLHF: `preference` is 1 or 2, the number of the better output."""
    found = read_messages(row.rows("conversations", each="turn"), row.what("conversations"))
    if found.responses:
        raise DataError(
            "`conversations` ends with an answer beside `output_1` and `output_2`; expected a question"
        )
    preference = row.number("preference")
    if preference not in (1, 2):
        raise DataError(f"`preference` is {preference:g}, expected 1 or 2")
    outputs = [read_one_answer(row, key) for key in ("output_1", "output_2")]
    if not all(len(output) == 1 for output in outputs):
        raise DataError("`output_1` or `output_2` holds no answer; expected one each")
    first, second = outputs if preference == 1 else outputs[::-1]
    found.responses = [*first, *second]
    return spelled(found)
