"""A student and its teacher, who read the same tokens of answers and may read prompts in their own ways.

Notation: N answer tokens of a batch, V rows of the vocabulary.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from training.utils.config.distill_config import DistillConfig
from training.utils.data.encode import Encoder, without_responses
from training.utils.data.loader import Collator, Data
from training.utils.data.record import DataError
from training.utils.data.tree import Batch, Tree
from training.utils.engine.engine import inference_engine
from training.utils.loop.prepare import build_encoder
from training.utils.losses.divergence import generalised_jsd
from training.utils.model.build_model import build_policy
from training.utils.model.logps import in_chunks
from training.utils.model.policy import Policy
from training.utils.model.same_reading import reads_the_same
from training.utils.process import dist

CHUNK_LEN = 256  # tokens of which several distributions are in memory at a time, in fp32


class Student(Policy):
    """A policy that says how far it is from what a teacher would say at each token."""

    def forward(self, batch: Batch, teacher_logits: Tensor, beta: float) -> Tensor:
        """Divergences of the answer tokens, nats, [N].

        Args:
            teacher_logits: [N, V].
        """
        hidden = self.family.hidden_states(self.model, batch).flatten(0, 1)[batch.predictor]

        def divergences(h: Tensor, of_teacher: Tensor) -> Tensor:
            logits = self.model.lm_head(h)
            rows = min(
                logits.shape[-1], of_teacher.shape[-1]
            )  # of one tokenizer; some models have rows to spare
            return generalised_jsd(logits[:, :rows], of_teacher[:, :rows], beta)

        return in_chunks(divergences, hidden, teacher_logits, CHUNK_LEN)


class Logits(Policy):
    """A model that gives its logits of the answer tokens, in its own precision, [N, V]."""

    def forward(self, batch: Batch) -> Tensor:
        hidden = self.family.hidden_states(self.model, batch).flatten(0, 1)
        return self.model.lm_head(hidden[batch.predictor])


class Teacher:
    """What a larger model would say. It reads prompts by its own template and image processor, and the answers' own
    tokens."""

    def __init__(self, config: DistillConfig, data: Data) -> None:
        """
        Raises:
            DataError: it has another tokenizer than the student.
        """
        self.encoder = build_encoder(config.for_another_model, config.teacher)
        require_same_tokens(config, data.encoder, self.encoder)
        self.reads_the_same = reads_the_same(data.encoder, self.encoder)
        self.collate = Collator(self.encoder, data.train.has_images)
        policy = build_policy(config.for_teacher, config.teacher, self.encoder.family, trainable=False)
        self.model = inference_engine(Logits(policy.model, policy.family), config.for_teacher)

    @torch.no_grad()
    def logits(self, trees: Sequence[Tree], batch: Batch) -> Tensor:
        """Of the answer tokens, given as trees and as the same batch, [N, V]."""
        return self.model(batch if self.reads_the_same else self._read(trees))

    def _read(self, trees: Sequence[Tree]) -> Batch:
        asked = self.encoder.encode_all([without_responses(tree.record) for tree in trees])
        own = [
            prompt.with_responses([response.ids for response in tree.responses], self.encoder.stop_ids)
            for prompt, tree in zip(asked, trees, strict=True)
        ]
        return self.collate(own).to(dist.device())


def require_same_tokens(config: DistillConfig, student: Encoder, teacher: Encoder) -> None:
    """
    Raises:
        DataError: a token of an answer would be another for the teacher.
    """
    one, other = student.tokenizer.get_vocab(), teacher.tokenizer.get_vocab()
    differ = sum(other.get(token) != number for token, number in one.items())
    differ += len(other.keys() - one.keys())
    same_words = student.vocabulary.word_ids == teacher.vocabulary.word_ids
    if differ or not same_words or student.end_id != teacher.end_id:
        what = (
            f"{differ:,} of {len(one):,} tokens differ" if differ else "its end of turn or word tokens differ"
        )
        raise DataError(
            f"--teacher {config.teacher}: has another tokenizer than --from_checkpoint {config.from_checkpoint} "
            f"({what}); distillation compares what both say at each token; expected a teacher with the same one"
        )
