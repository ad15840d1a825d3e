"""A record as the model sees it: the pictures behind the processor, and each token with what it is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from itertools import groupby

from PIL import Image

from data.survey.measure import uncut
from training.utils.data.encode import Encoder
from training.utils.data.images import open_image
from training.utils.data.pieces import token_pieces
from training.utils.data.record import Record
from training.utils.model.seen_pictures import seen_pictures

PLACEHOLDER = "\ufffc"  # stands for a picture in a text
PART_OF_CHARACTER = "·"


@dataclass(frozen=True)
class Token:
    text: str
    ids: tuple[int, ...]  # one; of a picture all
    kind: str = "words"  # or "structure", "image", "learned"
    cut: bool = False  # does not fit into --max_seq_len

    @property
    def shown(self) -> str:
        return self.text.replace("\n", "↵\n") or PART_OF_CHARACTER

    @property
    def about(self) -> str:
        return f"id {self.ids[0]}" if len(self.ids) == 1 else f"{len(self.ids)} tokens"


@dataclass(frozen=True)
class Seen:
    """A picture as the processor gives it, in one piece or in tiles."""

    pieces: list[Image.Image]
    size: tuple[int, int]  # of the picture itself, pixels
    num_tokens: int
    known: bool  # the pieces are made of the processor's tensors; else the picture at its own size


@dataclass(frozen=True)
class Answer:
    tokens: list[Token]
    score: float | None


@dataclass(frozen=True)
class View:
    record: Record
    why: str
    pictures: list[Seen]
    prompt: list[Token]
    answers: list[Answer]


def view(encoder: Encoder, record: Record, why: str, learns_history: bool) -> View:
    """
    Args:
        learns_history: earlier answers are learned too.

    Raises:
        DataError: the record can't be encoded.
    """
    pictures, expansions = [], []
    for image in map(open_image, record.images):
        vision, (ids,) = encoder.family.image_inputs(encoder.processor, [image])
        pieces = seen_pictures(encoder.processor, vision)
        pictures.append(Seen(pieces or [image], image.size, len(ids), bool(pieces)))
        expansions.append(ids)
    tree = encoder.encode(record)
    prompt = _prompt(encoder, record, expansions, learns_history)
    kept = [ids for ids, _ in _collapsed(tree.prompt_ids, expansions)]
    answers = []
    for number, text in enumerate(record.responses):
        ids, num_kept = encoder.response_ids(text), len(tree.responses[number].ids)
        texts = _texts(encoder, [(one,) for one in ids], tree.prompt_ids[-1:])
        tokens = [
            Token(shown, (one,), "learned", place >= num_kept)
            for place, (shown, one) in enumerate(zip(texts, ids, strict=True))
        ]
        answers.append(Answer(tokens, record.scores[number] if record.scores else None))
    return View(record, why, pictures, _without(prompt, kept), answers)


def _without(prompt: list[Token], kept: list[tuple[int, ...]]) -> list[Token]:
    """The tokens of a whole prompt, those cut that are not kept."""
    whole = [token.ids for token in prompt]
    if whole == kept:
        return prompt
    left = SequenceMatcher(None, whole, kept, autojunk=False).get_matching_blocks()
    places = {place for block in left for place in range(block.a, block.a + block.size)}
    return [replace(token, cut=place not in places) for place, token in enumerate(prompt)]


def _prompt(
    encoder: Encoder, record: Record, expansions: Sequence[list[int]], learns_history: bool
) -> list[Token]:
    """The tokens of the whole prompt."""
    ids, learned = uncut(encoder).prompt_ids(record.turns, expansions, record.system)
    image = encoder.family.image_text(encoder.processor)
    segments = iter(encoder.template.prompts(record.turns, image, record.system))
    marker = encoder.family.marker(encoder.processor)
    units = list(_collapsed(ids, expansions))
    texts = _texts(encoder, [unit for unit, _ in units])
    tokens: list[Token] = []
    together = zip(units, texts, strict=True)
    for is_answer, run in groupby(together, key=lambda one: learned[one[0][1]]):
        part = [(text, unit) for (unit, _), text in run]
        if is_answer:
            kinds = ["learned" if learns_history else _plain(encoder, unit) for _, unit in part]
            tokens += [Token(text, unit, kind) for (text, unit), kind in zip(part, kinds, strict=True)]
            continue
        pieces = [(piece.text.replace(marker, PLACEHOLDER), piece.structure) for piece in next(segments)]
        structure = _structure("".join(text for text, _ in part), pieces)
        at = 0
        for text, unit in part:
            by_template = all(structure[at : at + max(len(text), 1)])
            kind = "image" if text == PLACEHOLDER else "structure" if by_template else _plain(encoder, unit)
            shown = f"[image, {len(unit)} token{'s' if len(unit) > 1 else ''}]" if kind == "image" else text
            tokens.append(Token(shown, unit, kind))
            at += len(text)
    return tokens


def _plain(encoder: Encoder, unit: tuple[int, ...]) -> str:
    return "structure" if unit[0] in encoder.structural_ids else "words"


def _structure(text: str, pieces: Sequence[tuple[str, bool]]) -> list[bool]:
    """Which characters of a prompt the template wrote: those of its pieces, found in their order."""
    marks = [character.isspace() for character in text]
    at = 0
    for piece, is_structure in pieces:
        wanted = piece.strip()
        found = text.find(wanted, at) if wanted else -1
        if found >= 0:
            at = found + len(wanted)
            marks[found:at] = [is_structure] * len(wanted)
    return marks


def _collapsed(ids: Sequence[int], expansions: Sequence[list[int]]) -> Iterator[tuple[tuple[int, ...], int]]:
    """The ids one by one, those of a picture together; and where each begins."""
    at, images = 0, list(expansions)
    while at < len(ids):
        length = len(images[0]) if images and list(ids[at : at + len(images[0])]) == images[0] else 0
        if length:
            images.pop(0)
        yield tuple(ids[at : at + max(length, 1)]), at
        at += max(length, 1)


def _texts(encoder: Encoder, units: Sequence[tuple[int, ...]], before: Sequence[int] = ()) -> list[str]:
    """What each token adds to the text `before` it; a placeholder for what stands for a picture."""
    is_picture = [len(unit) > 1 or unit[0] == encoder.image_id for unit in units]
    words = [unit[0] for unit, picture in zip(units, is_picture, strict=True) if not picture]
    pieces = iter(token_pieces(encoder.vocabulary, words, before))
    return [PLACEHOLDER if picture else next(pieces) for picture in is_picture]
