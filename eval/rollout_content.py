"""What the page of rollouts holds, so that it stays small: texts, thumbnails and numbers each have their share."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from eval.benches.coco_names import on_disk
from eval.gallery import marked
from eval.page import thumbnail_uri
from eval.rollout_groups import MEASURES, Answer, Group, Tokens
from eval.rollout_truth import Invented
from training.utils.data.images import locate, open_image
from training.utils.data.record import ImageError

MOST_BYTES = 4_700_000  # of all that the page holds, without its frame
TEXT_BYTES = 1_700_000
PICTURE_BYTES = 1_800_000
LONGEST_TEXTS = (4000, 2000, 1000, 500, 250)  # characters; the first with which all texts fit
THUMBNAILS_PX = (192, 160, 128, 96, 64, 48)
FULL_COLOUR = 0.98  # share of the tokens below what has the strongest colour


@dataclass
class Content:
    """All that the script of the page reads."""

    groups: list[dict[str, Any]]
    pictures: list[str]  # data URIs, each once
    scales: dict[str, float]  # of each measure, what has the strongest colour
    has_truth: bool
    notes: list[str] = field(default_factory=list)  # what the page leaves out


def build_content(groups: Sequence[Group], folder: Path | None, invented: Invented | None) -> Content:
    """
    Args:
        folder: where the pictures are; none of them is shown that lies elsewhere. None: there are none.
        invented: of the answers whose truth is known; None: of no answer.
    """
    content = Content([], [], {}, invented is not None)
    longest = longest_text(groups)
    answers = [answer for group in groups for answer in group.answers]
    if num_cut := sum(len(answer.text) > longest for answer in answers):
        content.notes.append(f"{num_cut:,} answers are cut after {longest:,} characters")
    places = add_pictures(content, groups, folder)
    for group in groups:
        shown = [
            as_shown(answer, longest, (invented or {}).get((group.id, answer.response)))
            for answer in group.answers
        ]
        content.groups.append(
            {
                "step": group.step,
                "id": group.id,
                "prompt": group.prompt[:longest],
                "pictures": [places[image] for image in group.images if image in places],
                "missing": [Path(image).name for image in group.images if image not in places],
                "answers": shown,
            }
        )
    add_tokens(content, groups, longest)
    return content


def size(value: Any) -> int:
    """Bytes of a value in the page."""
    return len(as_json(value).encode())


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it closes the element or opens a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e")


def longest_text(groups: Sequence[Group]) -> int:
    texts = [
        text
        for group in groups
        for text in (
            group.prompt,
            *(text for answer in group.answers for text in (answer.text, *said(answer))),
        )
    ]
    fits = (limit for limit in LONGEST_TEXTS if size([text[:limit] for text in texts]) <= TEXT_BYTES)
    return next(fits, LONGEST_TEXTS[-1])


def said(answer: Answer) -> list[str]:
    """Why rewards gave their scores."""
    return [why for _, why in answer.of_rewards.values()]


def as_shown(answer: Answer, longest: int, invented: Sequence[str] | None) -> dict[str, Any]:
    """An answer without its tokens; `marks` are the places of invented words."""
    text = answer.text[:longest]
    shown = {"text": text, "score": answer.score, "kl": answer.kl, "cut": len(answer.text) - len(text)}
    if answer.of_rewards:
        shown["rewards"] = [[name, score, why[:longest]] for name, (score, why) in answer.of_rewards.items()]
    if invented is not None:
        parts = marked(text, invented)
        ends = [*accumulate(len(part) for part, _ in parts)]
        shown["marks"] = [
            (end - len(part), end) for end, (part, wrong) in zip(ends, parts, strict=True) if wrong
        ]
    return shown


def add_pictures(content: Content, groups: Sequence[Group], folder: Path | None) -> dict[str, int]:
    """Puts the pictures in, each once, as large as all have room; returns the place of each by its name."""
    names = [*dict.fromkeys(image for group in groups for image in group.images)]
    found = {name: picture for name in names if folder and (picture := thumbnail(name, folder))}
    if len(found) < len(names):
        where = f"not in {folder}, or can't be read" if folder else "not shown without --image_folder"
        content.notes.append(f"{len(names) - len(found):,} of {len(names):,} pictures are {where}")
    for largest_px in THUMBNAILS_PX:
        content.pictures = [thumbnail_uri(picture, largest_px) for picture in found.values()]
        if sum(map(len, content.pictures)) <= PICTURE_BYTES:
            break
    ends = accumulate(map(len, content.pictures))
    num = sum(end <= PICTURE_BYTES for end in ends)
    if num < len(found):
        content.notes.append(f"{len(found) - num:,} pictures have no room")
    content.pictures = content.pictures[:num]
    return {name: place for place, name in enumerate([*found][:num])}


def thumbnail(name: str, folder: Path) -> Image.Image | None:
    """A picture of the folder, and of nowhere else; none where there is none."""
    try:
        picture = open_image(locate(on_disk(name, folder), folder))
    except ImageError:
        return None
    picture.thumbnail((THUMBNAILS_PX[0],) * 2)
    return picture


def add_tokens(content: Content, groups: Sequence[Group], longest: int) -> None:
    """Puts in the numbers of the tokens, of all groups or of as many as there is room for, from all over the run."""
    cut = [[answer.tokens and answer.tokens.within(longest) for answer in group.answers] for group in groups]
    packed = [[tokens and packed_tokens(tokens) for tokens in some] for some in cut]
    sizes = np.array([size(some) if any(some) else 0 for some in packed])
    room = MOST_BYTES - size([content.groups, content.pictures])
    share, kept = 1.0, sizes > 0
    while sizes[kept].sum() > room:
        share *= min(0.95, room / sizes[kept].sum())
        counts = np.cumsum(sizes > 0) * share
        kept = (sizes > 0) & (np.floor(counts) > np.floor(np.concatenate([[0.0], counts[:-1]])))
    if left_out := int((sizes > 0).sum() - kept.sum()):
        content.notes.append(
            f"{left_out:,} of {len(groups):,} groups are without colours, for which there is no room"
        )
    for shown, some, is_kept in zip(content.groups, packed, kept, strict=True):
        for answer, tokens in zip(shown["answers"], some, strict=True):
            if tokens and is_kept:
                answer["tokens"] = tokens
    content.scales = scales(
        tokens for some, is_kept in zip(cut, kept, strict=True) if is_kept for tokens in some
    )


def packed_tokens(tokens: Tokens) -> dict[str, list | int | None]:
    """In thousandths; one number where it is the same for all, as an advantage of GRPO."""
    packed: dict[str, list | int | None] = {"lengths": list(tokens.lengths)}
    for name, values in tokens.values.items():
        whole = [None if value is None else round(1000 * value) for value in values]
        packed[name] = whole[0] if len(set(whole)) == 1 else whole
    return packed


def scales(tokens: Iterator[Tokens | None]) -> Mapping[str, float]:
    known = [each.values for each in tokens if each]
    found = {}
    for name in MEASURES:
        values = [abs(v) for each in known for v in each.get(name, ()) if v]  # zeros have no colour
        if values:
            found[name] = float(np.quantile(values, FULL_COLOUR))
    return found
