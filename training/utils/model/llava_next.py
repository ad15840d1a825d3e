"""LLaVA-NeXT (LLaVA-1.6): LLaVA on an overview and tiles of each image, with vicuna or mistral inside."""

from transformers import PretrainedConfig

from .llava import Llava


class LlavaNext(Llava):
    model_types = ("llava_next",)
    read_as_numbers = ("image_sizes",)

    def template_name(self, name: str, config: PretrainedConfig, processor) -> str:
        is_mistral = config.get_text_config().model_type == "mistral"
        return "mistral" if name == "llava_next" and is_mistral else name
