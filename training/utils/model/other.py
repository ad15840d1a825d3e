"""Whatever else transformers loads: it proves on a few prompts that it computes here what it computes there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transformers import PretrainedConfig, PreTrainedModel
from transformers.core_model_loading import WeightTransform

from ..data.record import DataError, Record
from .family import Family
from .proof import prove
from .save import recorded_conversions

if TYPE_CHECKING:
    from ..data.encode import Encoder


class OtherFamily(Family):
    takes_trees = False  # nobody has looked whether its attention takes the mask of a tree
    needs_mask = True

    def __init__(self) -> None:
        self.encoder: Encoder | None = None
        self.records: Sequence[Record] = ()
        self.is_proven = False

    def image_token(self, processor) -> str:
        token = getattr(processor, "image_token", None)
        if not isinstance(token, str):
            raise DataError(
                f"--model_architecture auto: {type(processor).__name__} has no image_token, so nobody knows how an "
                "image stands in its prompts; choose a model of the table in the README, or add a family"
            )
        return token

    def keeps_features(self, config: PretrainedConfig) -> bool:
        return False  # nobody has looked how its model asks its tower

    def conversions(self, model: PreTrainedModel) -> list[WeightTransform]:
        return recorded_conversions(model)  # nobody has looked which of all are for published checkpoints

    def will_prove(self, encoder: Encoder, records: Sequence[Record] = ()) -> None:
        self.encoder, self.records = encoder, records or self.records

    def prove(self, model: PreTrainedModel) -> None:
        if self.is_proven:
            return
        if self.encoder is None:
            raise RuntimeError(
                "OtherFamily: a model was built before `will_prove`; see prepare.build_encoder"
            )
        prove(model, self.encoder, self.records)
        self.is_proven = True
