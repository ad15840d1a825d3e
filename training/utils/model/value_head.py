"""A vision LLM with a scalar head: the reward model, and the critic of PPO."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ..data.tree import Batch
from .family import Family


class ValueHead(nn.Linear):
    """A linear head without bias that computes in fp32: bf16 scores would tie.

    With `aspects` it has an output for each. `scale` is the mean and the standard deviation that it measures by:
    (0, 1) in a reward model; in a critic those of the scores that it starts from, so that its values begin where its
    targets are, at normalised scores.
    """

    def __init__(self, size: int, aspects: Sequence[str] = ()) -> None:
        super().__init__(size, len(aspects) or 1, bias=False)
        self.aspects = tuple(aspects)
        self.scale = (0.0, 1.0)
        # Small, so that training starts from scores near 0 and the backbone sees gentle gradients.
        # From the seed alone, however many random numbers were drawn before.
        generator = torch.Generator().manual_seed(torch.initial_seed())
        nn.init.normal_(self.weight, std=0.1 / size**0.5, generator=generator)

    def forward(self, hidden: Tensor) -> Tensor:
        """[n, D] -> [n], or [n, A] of A aspects."""
        with torch.autocast(hidden.device.type, enabled=False):
            scores = nn.functional.linear(hidden.float(), self.weight.float())
        mean, std = self.scale
        return ((scores if self.aspects else scores[:, 0]) - mean) / std

    @torch.no_grad()
    def tell_apart(self, lm_head: nn.Linear, yes: int, no: int) -> None:
        """Makes values of the logit of one token less that of another: log p(yes) - log p(no), in nats."""
        self.weight.copy_(lm_head.weight[yes].float() - lm_head.weight[no].float())
        if getattr(lm_head, "bias", None) is not None:
            self.scale = (float(lm_head.bias[no] - lm_head.bias[yes]), 1.0)


class ValueModel(nn.Module):
    """A backbone with a value head."""

    def __init__(self, model: PreTrainedModel, family: Family, aspects: Sequence[str] = ()) -> None:
        super().__init__()
        self.model = model
        self.family = family
        self.v_head = ValueHead(model.config.get_text_config().hidden_size, aspects)

    def forward(self, batch: Batch, where: Tensor) -> Tensor:
        """Values at the tokens `where` (indices over rows, [n]), fp32, [n], or [n, A] of a head with A aspects.

        At `batch.last_token` they are the scores of the responses; at `batch.predictor` they are the values of
        the states in which the learned tokens were chosen.
        """
        return self.v_head(self.family.hidden_states(self.model, batch).flatten(0, 1)[where])
