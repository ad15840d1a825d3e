"""What some losses compare a prompt's answers with: answers to other prompts, and other images.

Both are further responses of the same batch (`Kind`), so they cost one more branch of a tree, or one more tree.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from training.utils.data.encode import Encoder
from training.utils.data.images import open_image
from training.utils.data.record import Record
from training.utils.data.tree import Kind, Response, Tree

NOISE_SHARE = 0.92  # of the variance of a noised picture: step 500 of DDPM's 1000 (arXiv 2006.11239)
LARGEST_CROP = 0.2  # share of the picture's area that a crop keeps, at most (arXiv 2406.11839, section 3.1)
SMALLEST_CROP = 0.01


@dataclass(frozen=True)
class Contrasts:
    """Encodes the records of a micro-batch, with what the losses compare their answers with."""

    encoder: Encoder
    borrow: bool  # an answer to another prompt
    other_image: str  # "crop" or "noise"; empty: none
    seed: int

    def __call__(self, records: Sequence[Record]) -> list[Tree]:
        trees = self.encoder.encode_all(records)
        if self.borrow:
            trees = self._with_borrowed(trees)
        if not self.other_image:
            return trees
        # Right behind its own tree: there it is more of the same prompt.
        return [
            each for record, tree in zip(records, trees, strict=True) for each in self._views(record, tree)
        ]

    def _with_borrowed(self, trees: list[Tree]) -> list[Tree]:
        """Each tree with the best answer to the next prompt as one more branch (arXiv 2402.01306, section 4.1)."""
        lenders = [*trees[1:], trees[0]]
        with_borrowed = []
        for tree, lender in zip(trees, lenders, strict=True):
            room = self.encoder.max_seq_len - len(tree.prompt_ids)
            borrowed = Response(lender.responses[0].ids[:room], kind=Kind.BORROWED)
            with_borrowed.append(replace(tree, responses=[*tree.responses, borrowed]))
        return with_borrowed

    def _views(self, record: Record, tree: Tree) -> list[Tree]:
        """A tree, and its best answer below other images, if it has images."""
        if not record.images:
            return [tree]
        images = tuple(self._spoiled(open_image(image), record.id) for image in record.images)
        other = self.encoder.encode(
            replace(record, images=images, responses=record.responses[:1], scores=None)
        )
        best = replace(other.responses[0], kind=Kind.OTHER_IMAGE)
        learned = [False] * len(other.prompt_ids)
        return [tree, replace(other, responses=[best], prompt_learned=learned, new_prompt=False)]

    def _spoiled(self, image: Image.Image, name: str) -> Image.Image:
        """A small crop of a picture at the picture's size, or the picture in noise. The same in each epoch."""
        rng = random.Random(f"{self.seed} {name}")
        if self.other_image == "crop":
            share = rng.uniform(SMALLEST_CROP, LARGEST_CROP) ** 0.5
            width, height = (max(1, round(size * share)) for size in image.size)
            left, top = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
            return image.crop((left, top, left + width, top + height)).resize(image.size)
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 127.5 - 1
        noise = np.random.default_rng(rng.getrandbits(32)).standard_normal(pixels.shape, dtype=np.float32)
        noised = (1 - NOISE_SHARE) ** 0.5 * pixels + NOISE_SHARE**0.5 * noise
        return Image.fromarray(((noised.clip(-1, 1) + 1) * 127.5).astype(np.uint8))
