"""PaliGemma (arXiv 2407.07726) and PaliGemma 2: a prompt's tokens see each other in both directions, an answer's see
what came before."""

from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from ..data.segments import Piece, Segment
from ..data.tree import IN_PROMPT, Batch
from .family import Family


class PaliGemma(Family):
    """Of a conversation the last answer alone is learned: those before it are part of the prompt."""

    model_types = ("paligemma",)
    takes_trees = False  # a prompt is no causal part of a row: the masks are its own
    needs_mask = True
    learns_earlier_answers = False

    def template_name(self, name: str, config: PretrainedConfig, processor) -> str:
        has_own = getattr(processor, "chat_template", None) is not None  # as published, it has none
        return "paligemma" if name == "auto" and not has_own else name

    def laid_out(self, processor, segments: list[Segment]) -> list[Segment]:
        """The beginning of the text stands behind the last image, and a line break ends the prompt."""
        marker, bos = self.marker(processor), Piece(processor.tokenizer.bos_token, structure=True)
        laid_out = [list(segment) for segment in segments]
        places = [
            (segment, place)
            for segment in laid_out
            for place, piece in enumerate(segment)
            if piece.structure and marker in piece.text
        ]
        if places:
            segment, place = places[-1]
            before, _, behind = segment[place].text.rpartition(marker)
            segment[place : place + 1] = [Piece(before + marker, True), bos, Piece(behind, True)]
        else:
            laid_out[0].insert(0, bos)
        laid_out[-1].append(Piece("\n", structure=True))
        return laid_out

    def read_image(self, processor, out: dict[str, Tensor]) -> tuple[list[int], dict[str, Tensor]]:
        ids, tensors = super().read_image(processor, out)
        tensors.pop("labels", None)
        num_tokens = ids.count(processor.tokenizer.convert_tokens_to_ids(self.image_token(processor)))
        return ids[:num_tokens], tensors  # behind them: the beginning and the end of a text

    def inputs(self, model: PreTrainedModel, batch: Batch) -> dict[str, Tensor]:
        is_prompt = (batch.branch == IN_PROMPT) & (batch.tree >= 0)
        return super().inputs(model, batch) | {
            "token_type_ids": (~is_prompt).long(),
            "position_ids": batch.position_ids + 1,  # it counts from 1
        }
