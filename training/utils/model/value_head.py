"""A vision LLM with a scalar head: the reward model, and the critic of PPO."""

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data.tree import Batch
from .family import Family


class ValueHead(nn.Linear):
    """A linear head without bias that computes in fp32: bf16 scores would tie.

    `scale` is the mean and the standard deviation that it measures by: (0, 1) in a reward model; in a critic those
    of the scores that it starts from, so that its values begin where its targets are, at normalised scores.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, 1, bias=False)
        self.scale = (0.0, 1.0)
        # Small, so that training starts from scores near 0 and the backbone sees gentle gradients.
        # From the seed alone, however many random numbers were drawn before.
        generator = torch.Generator().manual_seed(torch.initial_seed())
        nn.init.normal_(self.weight, std=0.1 / size**0.5, generator=generator)

    def forward(self, hidden: Tensor) -> Tensor:
        """[n, D] -> [n]"""
        with torch.autocast(hidden.device.type, enabled=False):
            scores = nn.functional.linear(hidden.float(), self.weight.float())[:, 0]
        mean, std = self.scale
        return (scores - mean) / std

    @torch.no_grad()
    def tell_apart(self, lm_head: nn.Linear, yes: int, no: int) -> None:
        """Makes values of the logit of one token less that of another: log p(yes) - log p(no), in nats."""
        self.weight.copy_(lm_head.weight[yes].float() - lm_head.weight[no].float())
        if getattr(lm_head, "bias", None) is not None:
            self.scale = (float(lm_head.bias[no] - lm_head.bias[yes]), 1.0)


class ValueModel(nn.Module):
    """A backbone with a value head."""

    def __init__(self, model: PreTrainedModel, family: Family) -> None:
        super().__init__()
        self.model = model
        self.family = family
        self.v_head = ValueHead(model.config.get_text_config().hidden_size)

    def forward(self, batch: Batch, where: Tensor) -> Tensor:
        """Values at the tokens `where` (indices over rows, [n]), fp32, [n].

        At `batch.last_token` they are the scores of the responses; at `batch.predictor` they are the values of
        the states in which the learned tokens were chosen.
        """
        return self.v_head(self.family.hidden_states(self.model, batch).flatten(0, 1)[where])
