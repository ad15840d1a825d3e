"""What the tokens of a checkpoint are to a conversation: words, structure, or neither.

Special tokens come from the template only. One that stands in somebody's words is read as plain characters, unless it
is a word itself: the boxes, points and locations of models that ground (`GROUNDING`), and what `--word_tokens` names.
"""

import json
import re
import unicodedata
from array import array
from collections.abc import Sequence
from functools import lru_cache

from .record import DataError
from .segments import Piece

# Special tokens that are words by their form: Qwen-VL's <|box_start|>, InternVL's </ref>, PaliGemma's <loc0042> and
# <seg007>, Florence-2's <loc_42>, Kosmos-2's <patch_index_0042>.
GROUNDING = re.compile(
    r"<\|(?:object_ref|box|quad|point)_(?:start|end)\|>|</?(?:ref|box|quad|point|poly|phrase|object)>"
    r"|<(?:loc|seg)_?\d+>|<patch_index_\d+>"
)
# Marks of a turn in whatever vocabulary; words rarely hold them on purpose.
TURN_MARK = r"<\|\w+\|>|</s>|<(?:start|end)_of_turn>|<end_of_utterance>"
CACHED_SEGMENTS = 10_000
# Normalisers that never make an ASCII text longer.
_ASCII_KEEPS = {"NFC", "NFD", "NFKC", "NFKD", "Lowercase", "Nmt", "Precompiled", "StripAccents"}


class Vocabulary:
    """A tokenizer's tokens, and texts as tokens.

    Attributes:
        special_ids: every special token, named by the tokenizer or not.
        word_ids: special tokens that are words all the same.
        structural_ids: special tokens that no words hold.
        num_tokens: from this id on there is no token; rows of an embedding behind it are padding.
        unused_ids: ids below it without a token.

    Raises:
        DataError: a token of `word_tokens` is unknown, or belongs to the structure.
    """

    def __init__(self, tokenizer, image_tokens: Sequence[str], word_tokens: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        if tokenizer.pad_token_id is None:  # a batch is padded with something; nothing attends to it
            tokenizer.pad_token = tokenizer.eos_token
        added = {token.content: (i, token.special) for i, token in tokenizer.added_tokens_decoder.items()}
        images = tokenizer.convert_tokens_to_ids(list(image_tokens))
        specials = {content: i for content, (i, special) in added.items() if special}
        structure = {*images, tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
        for token in word_tokens:
            if token not in added:
                raise DataError(
                    f"--word_tokens {token}: is no added token of this checkpoint's tokenizer; add it with "
                    "tokenizer.add_tokens, give the model's embedding a row for it, and save both"
                )
            if added[token][0] in structure:
                raise DataError(
                    f"--word_tokens {token}: belongs to the structure of a prompt; it can't be a word"
                )
        words = {
            token: i
            for token, i in specials.items()
            if i not in structure and (token in word_tokens or GROUNDING.fullmatch(token))
        }
        known = set(tokenizer.get_vocab().values())
        self.num_tokens = max(known) + 1
        self.unused_ids = set(range(self.num_tokens)) - known
        self.word_ids = set(words.values())
        self.special_ids = set(specials.values())
        self.structural_ids = {*self.special_ids, *tokenizer.all_special_ids, *images} - self.word_ids
        self._structure = re.compile(_any_of({*specials, *image_tokens} - words.keys()))
        self._words = re.compile(f"({_any_of(words)})") if words else None
        self._marks = re.compile(f"{self._structure.pattern}|{TURN_MARK}")
        self._heads = {anchor: self._tokens(anchor) for anchor in ("a", "\n")}
        self._normaliser = _steps(tokenizer)
        self._cached = lru_cache(CACHED_SEGMENTS)(self._read)  # prompts and answers often recur

    def ids(self, segment: Sequence[Piece], opening: bool) -> list[int]:
        """Token ids of a segment; `opening` where nothing stands before it.

        Structure and words are tokenised together, as the text of one string, unless the words hold what
        looks like a special token: then that stretch is tokenised apart, as characters.
        """
        return self._cached(tuple(segment), opening).tolist()

    def decode(self, ids: Sequence[int]) -> str:
        """The words among the tokens."""
        return self.tokenizer.decode([i for i in ids if i not in self.structural_ids]).strip()

    def special_looking(self, text: str) -> list[str]:
        """What looks like a special token in somebody's words and is no word of this checkpoint."""
        found = self._marks.findall(text)
        return [token for token in found if not (self._words and self._words.fullmatch(token))]

    def most_tokens(self, segment: Sequence[Piece], opening: bool) -> int:
        """At least as many as the tokens of a segment, without tokenising it where that can be known.

        Every token stands for a byte or more of the normalised text; a tokenizer may put a space in front of each
        stretch that it is given.
        """
        if all(self._keeps_length(piece.text) for piece in segment):
            return sum(len(piece.text.encode()) + 2 for piece in segment) + 1
        return len(self.ids(segment, opening))

    def _keeps_length(self, text: str) -> bool:
        """Whether it is certain that the tokenizer's normaliser makes no more bytes, or tokens, of the text."""
        ascii_only = text.isascii()
        return all(
            step == "keeps"
            or (step in _ASCII_KEEPS and ascii_only)
            or (step == "NFC" and unicodedata.is_normalized("NFC", text))
            for step in self._normaliser
        )

    def _read(self, segment: tuple[Piece, ...], opening: bool) -> array:
        runs: list[tuple[str, bool]] = [("", False)]  # text, and whether special tokens in it are characters
        for piece in segment:
            if piece.structure or not self._structure.search(piece.text):
                text, plain = runs[-1]
                runs[-1:] = [(text, plain), (piece.text, False)] if plain else [(text + piece.text, False)]
            else:
                stretches = self._words.split(piece.text) if self._words else [piece.text]
                runs += [(text, place % 2 == 0) for place, text in enumerate(stretches)]
        ids: list[int] = []
        for text, plain in runs:
            if text:
                at_start = opening and not ids
                ids += self._tokens(text, plain) if at_start else self._continuation(text, plain)
        return array("i", ids)

    def _continuation(self, text: str, plain: bool) -> list[int]:
        """Token ids of a text that follows other tokens.

        SentencePiece puts a space in front of whatever it is given. So the text is tokenised behind an anchor
        that no merge joins it to, and the anchor is taken off again.
        """
        anchor = "a" if text[0].isspace() else "\n"
        head = self._heads[anchor]
        ids = self._tokens(anchor + text, plain)
        return ids[len(head) :] if ids[: len(head)] == head else self._tokens(text, plain)

    def _tokens(self, text: str, plain: bool = False) -> list[int]:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return self.tokenizer(text, add_special_tokens=False, split_special_tokens=plain).input_ids
        # As transformers calls it for each text, without what it does around that.
        backend.no_truncation()
        backend.no_padding()
        backend.encode_special_tokens = plain
        return backend.encode(text, add_special_tokens=False).ids


def _any_of(tokens) -> str:
    """A pattern of these tokens, longer ones first where one begins another."""
    return "|".join(map(re.escape, sorted(tokens, key=len, reverse=True))) or r"(?!)"


def _steps(tokenizer) -> list[str]:
    """What the tokenizer does to a text before it looks for tokens, step by step; `keeps`: nothing lengthens it."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return ["unknown"]
    if backend.normalizer is None:
        return []
    state = json.loads(backend.normalizer.__getstate__())
    steps = []
    for step in state["normalizers"] if state["type"] == "Sequence" else [state]:
        # A space that SentencePiece writes as a character of three bytes is one token all the same.
        marks_spaces = (
            step["type"] == "Replace" and step["pattern"] == {"String": " "} and step["content"] == "▁"
        )
        keeps = step["type"] in ("Prepend", "Strip") or (marks_spaces and "▁" in tokenizer.get_vocab())
        steps.append("keeps" if keeps else step["type"])
    return steps
