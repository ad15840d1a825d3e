"""What a model family must answer. The rest of the code never asks which family a model is of.

The defaults here serve a family that follows the conventions of Hugging Face transformers; a family file
states what differs.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModelForImageTextToText, AutoProcessor, Cache, PretrainedConfig, PreTrainedModel

from ..data.tree import Batch
from .tower import FrozenTower


class Family:
    """One model architecture, behind one interface.

    Notation: B rows, T tokens of a row, D hidden size.
    """

    # Names of the submodules of `model.model`.
    vision_tower = "vision_tower"
    projector = "multi_modal_projector"
    language_model = "language_model"
    # Whether its attention takes the mask of a tree; otherwise each response gets a row of its own.
    takes_trees = True

    # -- loading ------------------------------------------------------------------------------------

    def load_model(self, path: str, **kwargs) -> PreTrainedModel:
        return AutoModelForImageTextToText.from_pretrained(path, **kwargs)

    def load_processor(self, path: str, **kwargs):
        return AutoProcessor.from_pretrained(path, **kwargs)

    def template_name(self, name: str, config: PretrainedConfig) -> str:
        """The template to use where `name` is asked for: a family may have variants of one."""
        return name

    # -- parts --------------------------------------------------------------------------------------

    def freeze(self, model: PreTrainedModel, vision: bool, language: bool) -> None:
        """Freezes what is not to be trained. The projector is always trained.

        Args:
            vision, language: whether that part is trained.
        """
        model.requires_grad_(False)
        getattr(model.model, self.projector).requires_grad_(True)
        getattr(model.model, self.vision_tower).requires_grad_(vision)
        getattr(model.model, self.language_model).requires_grad_(language)
        model.lm_head.requires_grad_(language)
        if not vision:
            setattr(model.model, self.vision_tower, FrozenTower(getattr(model.model, self.vision_tower)))

    def save_model(self, model: PreTrainedModel, folder: Path, weights: dict[str, Tensor]) -> None:
        """Writes config, generation config and weights, as transformers loads them.

        Args:
            weights: state dict of `model`, without a frozen tower.
        """
        tower = self.tower(model)
        if isinstance(tower, FrozenTower):
            prefix = f"model.{self.vision_tower}."
            weights = weights | {prefix + name: t.cpu() for name, t in tower.tower.state_dict().items()}
            setattr(model.model, self.vision_tower, tower.tower)  # its config is part of the model
        try:
            model.save_pretrained(folder, state_dict=weights)
        finally:
            setattr(model.model, self.vision_tower, tower)

    def tower(self, model: PreTrainedModel) -> nn.Module:
        return getattr(model.model, self.vision_tower)

    # -- images -------------------------------------------------------------------------------------

    def image_token(self, processor) -> str:
        """The token that is repeated for the features of an image."""
        return processor.image_token

    def image_text(self, processor) -> str:
        """What stands for an image in the text that the processor reads."""
        return self.image_token(processor)

    def image_inputs(
        self, processor, images: Sequence[Image.Image]
    ) -> tuple[dict[str, Tensor], list[list[int]]]:
        """The tensors of some images, and for each the token ids that its image token becomes."""
        parts, expansions = [], []
        for image in images:
            out = processor(
                text=self.image_token(processor),
                images=[image],
                add_special_tokens=False,
                return_tensors="pt",
            )
            expansions.append(out.pop("input_ids")[0].tolist())
            out.pop("attention_mask")
            parts.append(dict(out))
        return self.stack_vision(parts), expansions

    def stack_vision(self, parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """The images of several prompts, in the order of their tokens."""
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]} if parts else {}

    # -- forward ------------------------------------------------------------------------------------

    def hidden_states(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """Hidden states of the last layer, [B, T, D]."""
        return model.model(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask(),
            position_ids=self.position_ids(batch),
            use_cache=False,
            **batch.vision,
        ).last_hidden_state

    def cached_hidden_states(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        cache: Cache,
        vision: dict[str, Tensor],
    ) -> Tensor:
        """Hidden states of new tokens behind those in the cache, [B, T, D], for generation.

        Args:
            attention_mask: 1 on tokens, 0 on padding, over the cache and the new tokens.
            vision: the images of the new tokens; empty once the prompt is in the cache.
        """
        return model.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
            **vision,
        ).last_hidden_state

    def position_ids(self, batch: Batch) -> Tensor:
        """Positions of a tree's tokens, [B, T]."""
        return batch.position_ids
