"""LLaVA-OneVision (arXiv 2408.03326): an image alone is cut into tiles, several of one prompt are not."""

from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from .padded_images import PaddedImages


class LlavaOnevision(PaddedImages):
    model_types = ("llava_onevision",)
    read_as_numbers = ("image_sizes",)
    looks_at_each = False

    def image_inputs(
        self, processor, images: Sequence[Image.Image]
    ) -> tuple[dict[str, Tensor], list[list[int]]]:
        if len(images) < 2:
            return super().image_inputs(processor, images)
        out = processor(
            text=self.marker(processor) * len(images),
            images=[list(images)],  # of one prompt
            add_special_tokens=False,
            return_tensors="pt",
        )
        ids, tensors = self.read_image(processor, dict(out))
        length = len(ids) // len(images)  # the same for all
        return tensors, [ids[:length]] * len(images)

    def image_lens(self, processor, sizes: Sequence[tuple[int, int]]) -> list[int]:
        if len(sizes) < 2:
            return super().image_lens(processor, sizes)
        has_class_token = processor.vision_feature_select_strategy == "default"
        return [processor.num_image_tokens - has_class_token + 1] * len(sizes)  # and an end of line
