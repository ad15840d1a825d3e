"""OpenAI's `messages`, which TRL, LLaMA-Factory and ms-swift share, and what ms-swift adds."""

from .dialogue import Dialogue, read_messages
from .llava import ranked, spelled
from .row import Row
from .spelled import Spelled


def _messages(row: Row) -> Dialogue:
    return read_messages(row.rows("messages", each="turn"), row.what("messages"))


def read_chat(row: Row) -> Spelled:
    """`messages` of system, user and assistant; contents are texts, or parts of text and pictures."""
    return spelled(_messages(row))


def read_rejected_response(row: Row) -> Spelled:
    """ms-swift: the last message is the better answer, `rejected_response` the worse one, or several."""
    found = _messages(row)
    value = row.fields["rejected_response"]
    if isinstance(value, list) and value and all(isinstance(text, str) for text in value):
        found.responses += row.texts("rejected_response")
        return spelled(found)
    return ranked(found, row, "rejected_response")


def read_rejected_messages(row: Row) -> Spelled:
    """ms-swift: `rejected_messages` is the whole conversation with the worse answer."""
    return ranked(_messages(row), row, "rejected_messages")
