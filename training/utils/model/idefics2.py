"""Idefics2 (arXiv 2405.02246): an image's tokens stand between fake ones; two images side by side share one."""

import re

from torch import Tensor
from transformers import PretrainedConfig

from ..data.segments import Segment
from .padded_images import PaddedImages


class Idefics2(PaddedImages):
    model_types = ("idefics2",)

    def keeps_features(self, config: PretrainedConfig) -> bool:
        return False  # where a patch stands depends on the padding, so on the other pictures

    def laid_out(self, processor, segments: list[Segment]) -> list[Segment]:
        """With fake tokens around each image, and a space between one and a word behind it."""
        marker, fake = self.marker(processor), processor.fake_image_token
        laid_out: list[Segment] = []
        for segment in segments:
            laid_out.append([])
            follows_image = False
            for piece in segment:
                text = piece.text
                if piece.structure:
                    text = text.replace(marker, fake + marker + fake).replace(fake + fake, fake)
                    text = text.removeprefix(fake) if follows_image else text
                    text = re.sub(rf"{re.escape(fake)}(?=[^\s<])", f"{fake} ", text)
                if follows_image and re.match(r"[^\s<]", text):
                    text = f" {text}"
                if text:
                    laid_out[-1].append(piece._replace(text=text))
                    follows_image = piece.structure and text.endswith(fake)
        return laid_out

    def read_image(self, processor, out: dict[str, Tensor]) -> tuple[list[int], dict[str, Tensor]]:
        ids, tensors = super().read_image(processor, out)
        return ids[1:-1], tensors
