"""What a model family must answer. The rest of the code never asks which family a model is of.

Defaults serve a family that follows the conventions of transformers; a family's file states what differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, Cache, PretrainedConfig, PreTrainedModel
from transformers.core_model_loading import WeightTransform

from ..data.record import Record
from ..data.segments import Segment
from ..data.tree import Batch
from .image_len import Formula, image_lengths
from .parts import LANGUAGE_MODELS, PROJECTORS, VISION_TOWERS, present
from .save import published_conversions
from .tower import FrozenTower
from .tree_attention import tree_mask

if TYPE_CHECKING:
    from ..data.encode import Encoder


class Family:
    """One model architecture, behind one interface.

    Notation: B rows, T tokens of a row, D hidden size, I images.
    """

    # What config.json calls models of this family.
    model_types: tuple[str, ...] = ()
    # Whether its attention takes the mask of a tree; otherwise each response gets a row of its own.
    takes_trees = True
    # Whether it wants to be told of padding that causal order hides from every token anyway.
    needs_mask = False
    # Tensors of its images that its code reads as numbers, once for each image: they stay on the CPU.
    read_as_numbers: tuple[str, ...] = ()
    # Whether an image becomes the same tensors and tokens whatever others its prompt has.
    looks_at_each = True
    # Whether answers before the last one are learned too; not where a prompt sees its own future.
    learns_earlier_answers = True

    def for_config(self, config: PretrainedConfig) -> Family:
        """The family as it serves one model: without trees where layers see a window, which a tree's mask has not."""
        if not self.takes_trees or not _has_window(config.get_text_config()):
            return self
        family = copy(self)
        family.takes_trees = False
        return family

    # -- loading ------------------------------------------------------------------------------------

    # False and not None, for which transformers would ask at the terminal.
    def load_model(self, path: str, trust_remote_code: bool = False, **kwargs) -> PreTrainedModel:
        return AutoModelForImageTextToText.from_pretrained(
            path, trust_remote_code=trust_remote_code, **kwargs
        )

    def load_processor(self, path: str, trust_remote_code: bool = False, **kwargs):
        return AutoProcessor.from_pretrained(path, trust_remote_code=trust_remote_code, **kwargs)

    def template_name(self, name: str, config: PretrainedConfig, processor) -> str:
        """The template to use where `name` is asked for: a family may have variants of one."""
        return name

    def will_prove(self, encoder: Encoder, records: Sequence[Record] = ()) -> None:
        """Tells an untested family what to prove itself with: its encoder, and some of the records to come."""

    def prove(self, model: PreTrainedModel) -> None:
        """Tries a model before it is used. Families of the table do not: tests hold them to transformers' results.

        Raises:
            DataError: it computes something else here than in transformers.
        """

    # -- parts --------------------------------------------------------------------------------------

    def tower_name(self, model: PreTrainedModel) -> str:
        return present(model.model, VISION_TOWERS)[0]

    def tower(self, model: PreTrainedModel) -> nn.Module:
        return getattr(model.model, self.tower_name(model))

    def projector(self, model: PreTrainedModel) -> list[nn.Module | nn.Parameter]:
        """What stands between the vision tower and the language model."""
        return [attrgetter(name)(model.model) for name in present(model.model, PROJECTORS)]

    def language_model(self, model: PreTrainedModel) -> nn.Module:
        return getattr(model.model, present(model.model, LANGUAGE_MODELS)[0])

    def freeze(self, model: PreTrainedModel, vision: bool, language: bool) -> None:
        """Freezes what is not to be trained. The projector is always trained.

        Args:
            vision, language: whether that part is trained.
        """
        model.requires_grad_(False)
        tower = self.tower(model).requires_grad_(vision)
        if not vision:
            setattr(model.model, self.tower_name(model), self.frozen_tower(tower, model.config))
        self.language_model(model).requires_grad_(language)
        model.lm_head.requires_grad_(language)
        for part in self.projector(model):
            part.requires_grad_(True)

    def frozen_tower(self, tower: nn.Module, config: PretrainedConfig) -> FrozenTower | nn.Module:
        """What takes the place of a tower that is not trained; its `whole()` is the tower."""
        layer = getattr(config, "vision_feature_layer", None)
        return FrozenTower(tower, [layer] if isinstance(layer, int) else layer)

    def keeps_features(self, config: PretrainedConfig) -> bool:
        """Whether a frozen tower's output can be kept picture by picture; not where pictures share rows of it."""
        return config.vision_config.model_type != "pixtral"

    def ask_tower(self, model: PreTrainedModel, vision: dict[str, Tensor]) -> None:
        """Has the model ask its tower about images, as in its forward pass."""
        model.model.get_image_features(**vision)

    # -- saving -------------------------------------------------------------------------------------

    def conversions(self, model: PreTrainedModel) -> list[WeightTransform]:
        """What transformers makes of the weights of a published checkpoint; they are saved by their names there."""
        return published_conversions(model)

    # -- images -------------------------------------------------------------------------------------

    def image_token(self, processor) -> str:
        """The token that is repeated for the features of an image."""
        return processor.image_token

    def marker(self, processor) -> str:
        """The token that stands for an image until the processor expands it."""
        return self.image_token(processor)

    def image_text(self, processor) -> str:
        """What a template writes for an image: the marker, and what the family wants around it."""
        return self.marker(processor)

    def laid_out(self, processor, segments: list[Segment]) -> list[Segment]:
        """A prompt as the family's processor lays it out before it tokenises: with what it writes around an image."""
        return segments

    def image_inputs(
        self, processor, images: Sequence[Image.Image]
    ) -> tuple[dict[str, Tensor], list[list[int]]]:
        """The tensors of some images, and for each the token ids that its marker becomes."""
        parts, expansions = [], []
        for image in images:
            out = processor(
                text=self.marker(processor), images=[image], add_special_tokens=False, return_tensors="pt"
            )
            ids, tensors = self.read_image(processor, dict(out))
            expansions.append(ids)
            parts.append(tensors)
        return self.stack_vision(parts), expansions

    def image_len(self, processor, size: tuple[int, int]) -> int:
        """Token ids of `image_inputs` for a picture of that width and height, without the picture.

        Raises:
            DataError: the processor does not take such a picture.
        """
        return image_lengths(self, processor)(size)

    def image_lens(self, processor, sizes: Sequence[tuple[int, int]]) -> list[int]:
        """The same for the pictures of one prompt."""
        return [self.image_len(processor, size) for size in sizes]

    def image_len_formula(self, processor) -> Formula | None:
        """What transformers knows of `image_len` for inference servers: from width and height to tokens."""
        count = getattr(processor, "_get_num_multimodal_tokens", None)
        return count and (lambda size: count(image_sizes=[size[::-1]]).num_image_tokens[0])

    def read_image(self, processor, out: dict[str, Tensor]) -> tuple[list[int], dict[str, Tensor]]:
        """Token ids and tensors of an image, from what the processor made of its marker and the image.

        The first dimension of a tensor counts images, or pieces of images.
        """
        per_token = ("attention_mask", "token_type_ids", "mm_token_type_ids")
        ids = out.pop("input_ids")[0].tolist()
        return ids, {name: tensor for name, tensor in out.items() if name not in per_token}

    def stack_vision(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The images of several prompts, in the order of their tokens."""
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}

    # -- forward ------------------------------------------------------------------------------------

    def backbone(self, model: PreTrainedModel) -> nn.Module:
        """What turns `inputs` into hidden states."""
        return model.model

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        """What the backbone is called with for a batch, its images included."""
        mask = tree_mask(self.language_model(model), batch) if self.takes_trees else batch.attention_mask
        return {
            "input_ids": batch.input_ids,
            "attention_mask": batch.is_token if mask is None and self.needs_mask else mask,
            "position_ids": batch.position_ids,
            **batch.vision,
            **{name: t for name, t in batch.on_cpu.vision.items() if name in self.read_as_numbers},
        }

    def carried(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Which inputs the tokens behind a prompt need too, a row for each prompt, as one token needs them."""
        return {}

    def hidden_states(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Hidden states of the last layer, [B, T, D]."""
        return self.backbone(model)(**self.inputs(model, batch), use_cache=False).last_hidden_state

    def cached_hidden_states(self, model: PreTrainedModel, inputs: dict[str, Tensor], cache: Cache) -> Tensor:
        """Hidden states of tokens behind those in the cache, [B, T, D], for generation.

        Args:
            inputs: `attention_mask` [B, T of the cache and of the new tokens] is True on tokens; `position_ids`
                [B, T], or with more dimensions in front.
        """
        return self.backbone(model)(**inputs, past_key_values=cache, use_cache=True).last_hidden_state


def _has_window(config: PretrainedConfig) -> bool:
    layer_types = getattr(config, "layer_types", None)
    if layer_types is not None:
        return "sliding_attention" in layer_types
    return getattr(config, "sliding_window", None) is not None
