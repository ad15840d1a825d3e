"""LLaMA-Factory's alpaca form, its preferences, and ms-swift's `query` and `response`."""

from ..record import DataError, Turn
from .dialogue import Dialogue, read_messages, read_one_answer
from .llava import spelled
from .row import Row
from .spelled import Spelled
from .values import as_list, as_text


def read_sharegpt_preference(row: Row) -> Spelled:
    """`conversations` or `messages` up to a question, with `chosen` and `rejected` as answers to it."""
    key = "conversations" if "conversations" in row else "messages"
    found = read_messages(row.rows(key, each="turn"), row.what(key))
    if found.responses:
        raise DataError(
            f"{row.what(key)} ends with an answer beside `chosen` and `rejected`; which one counts can't be told: "
            "end it with the question, or leave two keys out"
        )
    return spelled(_with_pair(found, row))


def read_alpaca(row: Row) -> Spelled:
    """`instruction` and `input` as the question, `history` before it, `output` as the answer."""
    found = _asked(row, "instruction", "input")
    found.responses = read_one_answer(row, "output")
    return spelled(found)


def read_alpaca_preference(row: Row) -> Spelled:
    """`instruction` and `input` with `chosen` and `rejected`."""
    return spelled(_with_pair(_asked(row, "instruction", "input"), row))


def read_query(row: Row) -> Spelled:
    """ms-swift: `query` and `response`, with `history`, and `rejected_response` for a pair."""
    found = _asked(row, "query", "")
    found.responses = read_one_answer(row, "response")
    if "rejected_response" in row:
        found.responses += read_one_answer(row, "rejected_response")
    return spelled(found)


def _asked(row: Row, key: str, more: str) -> Dialogue:
    """A question after its history, which is a list of pairs of question and answer."""
    turns = []
    if "history" in row:
        for place, pair in enumerate(as_list(row.need("history"), row.what("history"))):
            what = f"{row.what('history')}[{place}]"
            texts = [as_text(text, what) for text in as_list(pair, what)]
            if len(texts) != 2:
                raise DataError(f"{what} holds {len(texts)} texts; expected a question and its answer")
            turns += [Turn("user", texts[0]), Turn("assistant", texts[1])]
    parts = [row.text(name) for name in (key, more) if name in row]
    return Dialogue([*turns, Turn("user", "\n".join(part for part in parts if part.strip()))])


def _with_pair(found: Dialogue, row: Row) -> Dialogue:
    for key in ("chosen", "rejected"):
        answer = read_one_answer(row, key)
        if not answer:
            raise DataError(f"{row.what(key)} is empty; expected a text or a message")
        found.responses += answer
    return found
