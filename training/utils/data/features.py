"""What a frozen vision tower says of pictures, in place of the pictures: it is computed once, then read from disk.

A picture is known by the content of its file, so that one which is known is neither decoded nor brought to size.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ..files.tensor_store import TensorStore
from ..model.family import Family
from .image_head import named
from .images import content_digest
from .record import ImageError, Picture

PIXELS = "pixel_values"  # what features take the place of, by the name that every family has for it
TOKEN_IDS, TOKEN_LENS = "token_ids", "token_lens"  # what the markers of some pictures become

Vision = tuple[dict[str, Tensor], list[list[int]]]  # as of `Family.image_inputs`


class Features:
    """Reads pictures as features.

    Attributes:
        missing: while the store is being filled, pixels by the key that their features will have; then None, and
            all features must be there.
    """

    def __init__(self, store: TensorStore, family: Family) -> None:
        self.store = store
        self.family = family
        self.missing: dict[str, Vision] | None = {}

    def read(self, pictures: Sequence[Picture], look: Callable[[Sequence[Picture]], Vision]) -> Vision:
        """What `image_inputs` would give of the pictures of a prompt, with features where the pixels are. While the
        store is being filled the token ids alone.

        Args:
            look: gives their pixels.

        Raises:
            ImageError: a picture is not what it was when the store was filled.
        """
        groups = [[picture] for picture in pictures] if self.family.looks_at_each else [pictures]
        parts = [self._read(group, look) for group in groups if group]
        vision = {} if self.missing is not None else self.family.stack_vision([each for each, _ in parts])
        return vision, [ids for _, expansions in parts for ids in expansions]

    def _read(self, pictures: Sequence[Picture], look: Callable[[Sequence[Picture]], Vision]) -> Vision:
        key = "-".join(map(content_digest, pictures))
        if key in self.store:
            if self.missing is not None:
                return {}, token_ids(self.store.part(key, TOKEN_IDS, TOKEN_LENS))
            return restored(self.store.get(key))
        if self.missing is None:
            raise ImageError(
                f"{', '.join(map(named, pictures))}: has changed since the run started, when the features of all "
                "pictures were computed; start again"
            )
        if key not in self.missing:
            self.missing[key] = look(pictures)
        return self.missing[key]


def kept(vision: dict[str, Tensor], expansions: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """What is stored of some pictures."""
    ids = torch.tensor([i for ids in expansions for i in ids], dtype=torch.int32)
    return vision | {TOKEN_IDS: ids, TOKEN_LENS: torch.tensor([len(ids) for ids in expansions])}


def restored(tensors: dict[str, Tensor]) -> Vision:
    """The opposite of `kept`."""
    vision = {name: tensor for name, tensor in tensors.items() if name not in (TOKEN_IDS, TOKEN_LENS)}
    return vision, token_ids(tensors)


def token_ids(tensors: dict[str, Tensor]) -> list[list[int]]:
    """Of each marker, of what `kept` gave."""
    return [part.tolist() for part in tensors[TOKEN_IDS].split(tensors[TOKEN_LENS].tolist())]
