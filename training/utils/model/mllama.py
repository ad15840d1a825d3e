"""Llama-3.2-Vision: a LLaMA with layers that attend to the images. An image is one token of the text.

Notation: B rows, T tokens of a row, I images in all, S image slots of a row, C tiles of an image, K states of a tile.
"""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data.tree import Batch
from .padded_images import PaddedImages
from .tree_attention import tree_mask


class Mllama(PaddedImages):
    model_types = ("mllama",)

    def read_image(self, processor, out: dict[str, Tensor]) -> tuple[list[int], dict[str, Tensor]]:
        _, tensors = super().read_image(processor, out)
        tensors.pop("cross_attention_mask")  # of this image alone
        return [processor.image_token_id], tensors

    def image_len(self, processor, size: tuple[int, int]) -> int:
        return 1

    def ask_tower(self, model: PreTrainedModel, vision: dict[str, Tensor]) -> None:
        model.model.vision_model(**vision)

    def backbone(self, model: PreTrainedModel) -> nn.Module:
        return model.model.language_model

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        text = {
            "input_ids": batch.input_ids,
            "attention_mask": tree_mask(self.language_model(model), batch),
            "position_ids": batch.position_ids,
        }
        if not batch.vision:
            return text
        # Worked out where the batch was made: nothing here waits for the device.
        known, device = batch.on_cpu, batch.input_ids.device
        row, place = (known.input_ids == model.config.image_token_index).nonzero(as_tuple=True)  # [I]
        slot = torch.arange(len(row)) - torch.searchsorted(row, row)
        num_rows, num_slots = len(known.input_ids), image_slots(known.tree, row, place)
        num_tiles = known.vision["aspect_ratio_mask"].shape[-1]
        sees = torch.zeros_like(known.tree, dtype=torch.bool)[..., None].repeat(1, 1, num_slots)
        sees[row, :, slot] = image_is_seen(known, row, place)
        tree_of_slot = torch.full((num_rows, num_slots), -1)
        tree_of_slot[row, slot] = known.tree[row, place]
        tiles = torch.ones(num_rows, num_slots, num_tiles, dtype=torch.bool)
        tiles[row, slot] = known.vision["aspect_ratio_mask"][:, 0].bool()
        mask, has_image = (each.to(device) for each in cross_attention(sees, tree_of_slot, tiles, known.tree))

        states = model.model.vision_model(**batch.vision).last_hidden_state  # [I, 1, C, K, vision size]
        states = model.model.multi_modal_projector(states)[:, 0]  # [I, C, K, D]
        slots = states.new_zeros(num_rows, num_slots, *states.shape[1:])
        slots[row.to(device), slot.to(device)] = states
        mask = mask.repeat_interleave(states.shape[2], -1)[:, None]  # [B, 1, T, S * C * K]
        return text | {
            "cross_attention_states": slots.flatten(1, 3),
            "cross_attention_mask": torch.zeros_like(mask, dtype=states.dtype).masked_fill(
                ~mask, torch.finfo(states.dtype).min
            ),
            "full_text_row_masked_out_mask": has_image[:, None, :, None].to(states.dtype),
        }

    def carried(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        masks = ("cross_attention_mask", "full_text_row_masked_out_mask")
        return {name: inputs[name][:, :, -1:] for name in masks if name in inputs}


def image_slots(tree: Tensor, row: Tensor, place: Tensor) -> int:
    """Slots that each row needs: for its images, and an empty one where a tree has none, to attend to. What attends
    to an empty slot gets 0, as a text without images should.

    Args:
        tree: of each token, [B, T].
        row, place: where the image tokens are, [I].
    """
    pictured = torch.zeros(len(tree), int(tree.max()) + 1, dtype=torch.bool)
    pictured[row, tree[row, place]] = True
    has_bare_tree = pictured.sum(1) < tree.amax(1) + 1
    return int((torch.bincount(row, minlength=len(tree)) + has_bare_tree).max())


def cross_attention(sees: Tensor, tree_of_slot: Tensor, tiles: Tensor, tree: Tensor) -> tuple[Tensor, Tensor]:
    """Which tiles each token attends to, [B, T, S * C], and whether it sees an image at all, [B, T].

    A token that sees none attends to all of its own tree's images in transformers, and skips the rest of the layer;
    so it does here. Where its tree has no image it attends to an empty slot; padding attends to one if there is any.

    Args:
        sees: image in slot is seen by token, [B, T, S].
        tree_of_slot: -1 where a slot is empty, [B, S].
        tiles: which tiles hold a part of the image, [B, S, C].
        tree: of each token, [B, T].
    """
    has_image = sees.any(-1)
    own = tree_of_slot[:, None, :] == tree[:, :, None]
    own = torch.where(own.any(-1, keepdim=True), own, tree_of_slot[:, None, :] == -1)
    seen = sees[..., None] & tiles[:, None]
    blind = own[..., None].expand_as(seen)
    return torch.where(has_image[..., None, None], seen, blind).flatten(2), has_image


def image_is_seen(batch: Batch, row: Tensor, place: Tensor) -> Tensor:
    """Which tokens of its row attend to an image, [I, T].

    From its own token to the next image of the same tree that does not stand directly behind it, as Llama-3.2 was
    trained; an image that none follows is seen to the end of the prompt and by all responses.

    Args:
        row, place: where the image tokens are, in order, [I].
    """
    length = batch.tree.shape[1]
    tree = batch.tree[row]  # [I, T]
    own_tree = tree.gather(1, place[:, None])  # [I, 1]
    end = [length] * len(place)
    places, keys = place.tolist(), list(zip(row.tolist(), own_tree[:, 0].tolist(), strict=True))
    for image in range(len(places) - 2, -1, -1):
        if keys[image] == keys[image + 1]:
            adjoins = places[image + 1] == places[image] + 1
            end[image] = end[image + 1] if adjoins else places[image + 1]
    at = torch.arange(length, device=place.device)
    ends = torch.tensor(end, device=place.device)
    return (tree == own_tree) & (at >= place[:, None]) & (at < ends[:, None])
