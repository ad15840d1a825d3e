"""Gemma 3: tokens of an image see each other in both directions, and most layers see a window only."""

from torch import Tensor
from transformers import PreTrainedModel

from ..data.tree import Batch
from .family import Family


class Gemma3(Family):
    model_types = ("gemma3",)
    takes_trees = False  # its masks depend on the kind of token and of layer: they are its own

    def image_token(self, processor) -> str:
        return processor.tokenizer.image_token

    def marker(self, processor) -> str:
        return processor.boi_token

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        is_image = batch.input_ids == model.config.image_token_id
        return super().inputs(model, batch) | {"token_type_ids": is_image.long()}
