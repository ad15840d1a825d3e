"""An entry to a record: what a stage learns from.

`formats` knows how each spells a record, here it is checked. What is wrong with an entry is a DataError that says
what was found, what was expected and how to mend it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .captions import captioned
from .entries import Entries
from .formats import Spelled, normalise
from .images import locate
from .record import MARKER, DataError, Record, Turn


@dataclass(frozen=True)
class Reader:
    """How a stage reads its entries."""

    min_responses: int = 0  # that it needs
    max_responses: int | None = None  # that it uses, the best first; none: all
    needs_scores: bool = False  # for each response
    needs_labels: bool = False  # each response is desirable or not
    needs_answer: bool = False  # a label that answers are checked against
    imitates: bool = False  # responses are learned as they are, so none may be undesirable
    captions: str = ""  # files of captions that prompts go on with (captions.py)
    aspects: tuple[str, ...] | None = None  # what rankings may be about; none: it does not matter
    image_folder: str | None = None  # where picture paths start; none: the folder that the data lie in
    columns: tuple[tuple[str, str], ...] = ()  # names that a format knows, and what the data call them

    def read(self, entries: Entries, place: int) -> Record:
        """
        Raises:
            DataError: the entry is no record, or not one that the stage can use.
        """
        entry, shard, source = entries[place], entries.shard(place), entries.where(place)
        folder = Path(self.image_folder) if self.image_folder else shard.folder
        return self.record(entry, source, folder)

    def id_of(self, entries: Entries, place: int) -> str:
        """The id of the record at a place, whether or not its pictures are there; empty where it is no record."""
        try:
            return _id(normalise(entries[place], dict(self.columns)), entries.where(place))
        except DataError:
            return ""

    def record(self, entry: Any, source: str, folder: Path) -> Record:
        """An entry as a record. Arguments: `source` is "file[index]", `folder` where picture paths start."""
        spelled = normalise(entry, dict(self.columns))
        images = tuple(locate(image, folder) if isinstance(image, str) else image for image in spelled.images)
        if spelled.desirable is not None and len(spelled.responses) > 1:
            raise DataError(
                f"a label of true or false says whether one answer is desirable; found {len(spelled.responses)}"
            )
        if self.imitates and spelled.desirable is False:
            raise DataError(
                "the answer is labelled as not desirable, and would be learned; leave it out, or learn from it with "
                "--loss_type kto or bco of run_dpo_training.sh"
            )
        responses, scores, critiques = _ranked(spelled)
        if self.needs_labels:
            scores = _labelled(spelled, scores)
        self._require(responses, scores)
        if self.needs_answer and not spelled.label:
            raise DataError(
                "has no label to check answers against, as a reward does; expected `label`, `answer`, `solution` or "
                "`ground_truth`"
            )
        is_named = spelled.id is not None
        name = _id(spelled, source)
        turns = _with_markers(spelled.turns, len(images))
        return Record(
            id=name,
            source=source,
            images=images,
            turns=captioned(turns, name if is_named else "", images, self.captions),
            responses=responses[: self.max_responses],
            scores=scores and scores[: self.max_responses],
            critiques=critiques[: self.max_responses],
            label=spelled.label,
            origin=spelled.origin or Path(source.rpartition("[")[0]).stem,
            system=spelled.system,
            aspect=self._aspect(spelled),
            is_named=is_named,
        )

    def _aspect(self, spelled: Spelled) -> int:
        if self.aspects is None or not spelled.aspect:
            return -1
        if spelled.aspect not in self.aspects:
            known = ", ".join(self.aspects) or "none is named by --aspects"
            raise DataError(
                f"`aspect` is {spelled.aspect!r}, expected one that is learned ({known}); name it there, or "
                "leave the key out (--columns ignored=aspect)"
            )
        return self.aspects.index(spelled.aspect)

    def _require(self, responses: tuple[str, ...], scores: tuple[float, ...] | None) -> None:
        if len(responses) < self.min_responses:
            raise DataError(
                f"found {len(responses)} response(s), expected at least {self.min_responses}; "
                "the last gpt value holds them, as a text or as a list with the best first"
            )
        if not all(responses):
            raise DataError("a response is empty; expected text")
        if self.needs_scores and scores is None:
            raise DataError("has no `score`; --loss_type regression needs one for each response")
        if self.min_responses > 1 and len(set(responses)) < len(responses):
            raise DataError("two responses are the same; expected different ones to rank; remove one")
        used = (scores or ())[: self.max_responses]
        if self.min_responses > 1 and used and len(set(used)) == 1:
            raise DataError(
                f"all {len(used)} responses have the score {used[0]:g}; expected one that is better than another; "
                "leave such records out"
            )


def _id(spelled: Spelled, source: str) -> str:
    return str(spelled.id if spelled.id is not None else source.rpartition("[")[2].rstrip("]"))


def _ranked(spelled: Spelled) -> tuple[tuple[str, ...], tuple[float, ...] | None, tuple[str, ...]]:
    """Responses, their scores and their critiques, the best first: by the scores, if there are any, else as they are
    listed."""
    responses = tuple(text.strip() for text in spelled.responses)
    critiques = tuple(text.strip() for text in spelled.critiques)
    scores = spelled.scores
    if not scores and spelled.desirable is not None:
        scores = (float(spelled.desirable),) * len(responses)
    if not scores:
        return responses, None, critiques
    order = sorted(range(len(responses)), key=lambda place: -scores[place])
    responses, scores, critiques = (
        tuple(part[place] for place in order if part) for part in (responses, scores, critiques)
    )
    return responses, scores, critiques


def _labelled(spelled: Spelled, scores: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Scores, the best first, that are above 0 for a desirable response.

    An answer alone is desirable or not by its label: a rating of 3 may be either. Of several answers the best are
    desirable and the others are not, as where a pair is taken apart (TRL's `unpair_preference_dataset`).

    Raises:
        DataError: nothing says whether the answer is desirable, or which of several is better.
    """
    if len(spelled.responses) == 1:
        named = {"true": True, "1": True, "false": False, "0": False}.get((spelled.label or "").lower())
        desirable = named if spelled.desirable is None else spelled.desirable
        if desirable is None:
            raise DataError(
                "nothing says whether the answer is desirable; expected `label` of true or false: KTO and BCO need "
                "it for an answer alone" + (", and a score does not tell" if scores else "")
            )
        return (float(desirable),)
    if not scores or set(scores) == {0.0, 1.0}:
        return scores
    if len(set(scores)) == 1:
        raise DataError(
            f"all {len(scores)} responses have the score {scores[0]:g}; expected one that is better"
        )
    border = (scores[0] + max(score for score in scores if score < scores[0])) / 2
    return tuple(score - border for score in scores)


def _with_markers(turns: Sequence[Turn], num_images: int) -> tuple[Turn, ...]:
    """The turns with one image marker for each image: in front of the first turn, if there are none at all."""
    if not turns or turns[-1].role != "user":
        raise DataError("the prompt does not end with a human turn")
    turns = tuple(Turn(turn.role, turn.text.strip()) for turn in turns)
    found = sum(turn.text.count(MARKER) for turn in turns if turn.role == "user")
    if found == 0:
        first = Turn("user", "".join([f"{MARKER}\n"] * num_images) + turns[0].text)
        turns = (first, *turns[1:])
    elif found != num_images:
        raise DataError(
            f"found {found} {MARKER} marker(s) for {num_images} image(s); expected one for each image, or none at all"
        )
    for turn in turns:
        if not turn.text.replace(MARKER, "").strip():
            raise DataError(f"a {'human' if turn.role == 'user' else 'gpt'} turn is empty; expected text")
    return turns
