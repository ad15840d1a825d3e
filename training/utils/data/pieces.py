"""What each token of a response adds to its text."""

from collections.abc import Sequence

from .vocabulary import Vocabulary

LONGEST_CHARACTER = 4  # tokens of one byte each, in UTF-8
HALF = "\ufffd"  # what bytes that are no whole character are decoded to


def token_pieces(vocabulary: Vocabulary, ids: Sequence[int], prompt: Sequence[int] = ()) -> list[str]:
    """The text of each token, as it reads behind the one before; tokens of the structure by their names.

    A character that several tokens make stands with the last of them. Together the pieces are the text.

    Args:
        prompt: the last tokens in front of these.
    """
    decode = vocabulary.tokenizer.backend_tokenizer.decode
    pieces: list[str] = []
    before = list(prompt)  # what is decoded in front, so that a space between two words is seen
    pending: list[int] = []  # what has not made a whole character yet
    known = decode(before, skip_special_tokens=False)
    for token in ids:
        if token in vocabulary.structural_ids:
            pieces.append(vocabulary.tokenizer.convert_ids_to_tokens(token))
            before, pending, known = [], [], ""
            continue
        pending.append(token)
        text = decode(before + pending, skip_special_tokens=False)
        if text.endswith(HALF) and len(pending) < LONGEST_CHARACTER:
            pieces.append("")
            continue
        pieces.append(text[len(known) :])
        before, pending = pending, []
        known = decode(before, skip_special_tokens=False)
    if pending and pieces:  # the response was cut within a character
        pieces[-1] += decode(before + pending, skip_special_tokens=False)[len(known) :]
    return pieces
