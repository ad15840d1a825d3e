"""Gemma 3: tokens of an image see each other in both directions, and most layers see a window only."""

from torch import Tensor
from transformers import PreTrainedModel

from ..data.record import DataError
from ..data.segments import Segment
from ..data.tree import Batch
from .family import Family

AROUND_IMAGE = "\n\n"  # its vocabulary joins these line breaks with those of the text beside them


class Gemma3(Family):
    model_types = ("gemma3",)
    takes_trees = False  # its masks depend on the kind of token and of layer: they are its own
    needs_mask = True

    def load_processor(self, path: str, **kwargs):
        processor = super().load_processor(path, **kwargs)
        if getattr(processor.image_processor, "do_pan_and_scan", None):
            raise DataError(
                f"{path}: its processor cuts pictures into crops (do_pan_and_scan), which prompts here have no words "
                "for; set do_pan_and_scan to false in its preprocessor_config.json or processor_config.json"
            )
        return processor

    def image_token(self, processor) -> str:
        return processor.tokenizer.image_token

    def marker(self, processor) -> str:
        return processor.boi_token

    def laid_out(self, processor, segments: list[Segment]) -> list[Segment]:
        marker = self.marker(processor)
        return [
            [
                piece._replace(text=piece.text.replace(marker, f"{AROUND_IMAGE}{marker}{AROUND_IMAGE}"))
                if piece.structure
                else piece
                for piece in segment
            ]
            for segment in segments
        ]

    def read_image(self, processor, out: dict[str, Tensor]) -> tuple[list[int], dict[str, Tensor]]:
        ids, tensors = super().read_image(processor, out)
        first, last = processor.tokenizer.boi_token_id, processor.tokenizer.eoi_token_id
        return ids[ids.index(first) : len(ids) - ids[::-1].index(last)], tensors

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        is_image = batch.input_ids == model.config.image_token_id
        return super().inputs(model, batch) | {"token_type_ids": is_image.long()}
