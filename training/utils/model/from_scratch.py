"""Models made of a vision tower and a language model of one's own: a LLaVA with a choice of projectors, and with
multi-modal causal attention if wanted. `assemble.py` builds them."""

from typing import Any

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForImageTextToText,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaModel,
    PreTrainedModel,
)

from ..data.tree import Batch
from . import open_clip_tower  # noqa: F401  (registers itself with transformers)
from .family import Family
from .legacy_mmca import legacy_attention
from .mmca import mmca_attention
from .projectors import LEGACY_PROJECTORS, PROJECTORS


class FromScratchConfig(LlavaConfig):
    """LLaVA's, and:

    Attributes:
        projector: a name of `PROJECTORS`.
        num_queries: tokens of an image where the projector has queries.
        enable_mmca_attention: multi-modal causal attention (`mmca.py`).
        legacy_attention: that attention as Vision-LLM-Alignment computed it (`legacy_mmca.py`).
        legacy_projector: the projector as Vision-LLM-Alignment computed it.
    """

    model_type = "llava_from_scratch"
    projector: str = "baseline"
    num_queries: int = 256
    enable_mmca_attention: bool = False
    legacy_attention: bool = False
    legacy_projector: bool = False


class FromScratchModel(LlavaModel):
    config_class = FromScratchConfig

    def __init__(self, config: FromScratchConfig) -> None:
        super().__init__(config)
        projectors = LEGACY_PROJECTORS if config.legacy_projector else PROJECTORS
        self.multi_modal_projector = projectors[config.projector](config)
        if config.enable_mmca_attention:
            attention = legacy_attention if config.legacy_attention else mmca_attention
            self.language_model.set_attn_implementation(attention.name)
        self.post_init()

    def forward(self, input_ids: Tensor | None = None, past_key_values=None, **kwargs: Any):
        if self.config.enable_mmca_attention:
            # The cache remembers where a prompt has images: the tokens behind it are text.
            is_image = getattr(past_key_values, "is_image", None)
            if is_image is None and input_ids is not None:
                is_image = input_ids == self.config.image_token_id
                if past_key_values is not None:
                    past_key_values.is_image = is_image
            kwargs.setdefault("is_image", is_image)
        return super().forward(input_ids, past_key_values=past_key_values, **kwargs)


class FromScratchForConditionalGeneration(LlavaForConditionalGeneration):
    config_class = FromScratchConfig

    def __init__(self, config: FromScratchConfig) -> None:
        super().__init__(config)
        self.model = FromScratchModel(config)
        self.post_init()


AutoConfig.register(FromScratchConfig.model_type, FromScratchConfig)
AutoModelForImageTextToText.register(FromScratchConfig, FromScratchForConditionalGeneration)


class FromScratch(Family):
    # A CLIP with LLaVA-1.5's projector is saved as a plain LLaVA.
    model_types = ("llava_from_scratch", "llava")

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        inputs = super().inputs(model, batch)
        if getattr(model.config, "enable_mmca_attention", False):
            inputs["is_image"] = batch.input_ids == model.config.image_token_id
        return inputs

    def carried(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"is_image": inputs["is_image"]} if "is_image" in inputs else {}
