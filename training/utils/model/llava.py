"""LLaVA and LLaVA-1.5 (arXiv 2304.08485, 2310.03744): CLIP, a two-layer projector, a LLaMA decoder; Pixtral (arXiv
2410.07073) and Mistral 3, whose tower keeps an image's shape."""

import logging

from transformers import PretrainedConfig

from .padded_images import PaddedImages
from .read_config import read_config

CLASS_TOKENS = {"clip_vision_model": 1, "siglip_vision_model": 0}  # in front of the patches, by kind of tower

logger = logging.getLogger(__name__)


class Llava(PaddedImages):
    model_types = ("llava",)

    def load_processor(self, path: str, trust_remote_code: bool = False, **kwargs):
        """The processor, counting the image tokens that the model's tower makes: some are published without that."""
        processor = super().load_processor(path, trust_remote_code, **kwargs)
        for name, value in _of_tower(read_config(path, trust_remote_code)).items():
            if (known := getattr(processor, name, value)) != value:
                setattr(processor, name, value)
                logger.warning("%s: %s of its processor is %s; its model needs %s", path, name, known, value)
        return processor


def _of_tower(config: PretrainedConfig) -> dict[str, int | str]:
    """What a processor must know to count image tokens, as the model's config has it."""
    tower = config.vision_config
    known = {
        "patch_size": getattr(tower, "patch_size", None),
        "vision_feature_select_strategy": getattr(config, "vision_feature_select_strategy", None),
        "num_additional_image_tokens": CLASS_TOKENS.get(tower.model_type),
    }
    return {name: value for name, value in known.items() if value is not None}


class Mistral3(Llava):
    model_types = ("mistral3",)
