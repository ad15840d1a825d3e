"""The policy: a vision LLM that gives the log-probability of every learned token of a batch."""

from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data.tree import Batch
from .family import Family
from .logps import token_logps, token_logps_and_entropy


class Policy(nn.Module):
    def __init__(self, model: PreTrainedModel, family: Family) -> None:
        super().__init__()
        self.model = model
        self.family = family

    def forward(
        self, batch: Batch, temperature: float = 1.0, with_entropy: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Log-probabilities of the learned tokens in nats, [N]; or these and the entropy at each, [N]."""
        hidden = self.family.hidden_states(self.model, batch).flatten(0, 1)
        compute = token_logps_and_entropy if with_entropy else token_logps
        return compute(hidden[batch.predictor], self.model.lm_head, batch.label_ids, temperature)
