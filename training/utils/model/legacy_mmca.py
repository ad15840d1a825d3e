"""Multi-modal causal attention as Vision-LLM-Alignment computed it, for the checkpoints that it trained: by the name
"mmca_legacy" in transformers.

It differs from the paper's rule (`mmca.py`) in two ways. A token of an image attends to the text so far too. And
where one of the two softmaxes has no key, as that over the images has none before the first image, all its masked
scores are equal, so it is uniform: over the keys so far that are of the other kind, and over the keys to come that
are of its own. So the text before an image sees that image. Masks of trees and of samples in a row are kept to.
"""

from collections.abc import Iterator

from torch import Tensor
from torch.nn.functional import pad

from .mmca import MultiModalAttention, kinds


def _of_the_original(may: Tensor, is_image: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    key_is_image, query_is_text, itself = kinds(may, is_image)
    num_before = may.shape[-1] - may.shape[-2]
    # The keys to come of a query are those that may attend to it: of its own sample and branch, and no padding.
    to_come = pad(may[..., num_before:].transpose(-1, -2), (num_before, 0)) & ~may
    for of_kind, allowed in (
        (~key_is_image, may & ~key_is_image),
        (key_is_image, may & key_is_image & (query_is_text | itself)),
    ):
        uniform = ((may & ~of_kind) | (to_come & of_kind)).float()
        yield allowed, uniform / uniform.sum(-1, keepdim=True).clamp(min=1)


legacy_attention = MultiModalAttention("mmca_legacy", _of_the_original)
