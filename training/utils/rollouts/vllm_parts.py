"""What vLLM runs within its own steps."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from vllm.config import ModelConfig, VllmConfig
from vllm.model_executor.layers.logits_processor import LogitsProcessor as OutputLogits
from vllm.model_executor.model_loader import register_model_loader
from vllm.model_executor.model_loader.base_loader import BaseModelLoader
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor


@register_model_loader("policy")
class PolicyLoader(BaseModelLoader):
    """Starts a model with weights of this process. (vLLM's own for none writes over tables that no weights hold.)

    Attributes:
        weights: with their published names, while a model starts.
    """

    weights: ClassVar[Iterable[tuple[str, Tensor]]] = ()

    def download_model(self, model_config: ModelConfig) -> None:
        """They are here."""

    def load_weights(self, model: nn.Module, model_config: ModelConfig) -> None:
        model.load_weights(iter(self.weights))


class Forbidden(LogitsProcessor):
    """Keeps tokens out of all responses, as `Sampling.forbidden_ids` does. Log-probabilities are taken before it."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        rows = vllm_config.model_config.get_vocab_size()
        ids = [i for i in vllm_config.additional_config["forbidden_ids"] if i < rows]
        beyond = range(vllm_config.additional_config["num_tokens"], rows)
        self.ids = torch.tensor([*ids, *beyond], dtype=torch.long, device=device)

    def apply(self, logits: Tensor) -> Tensor:
        return logits.index_fill_(-1, self.ids, -torch.inf)

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """The same tokens for all requests."""


def scale_logits(model: nn.Module, scale: float) -> None:
    """Multiplies a model's logits, by what its own config says besides.

    vLLM takes log-probabilities before it divides by the temperature, so a temperature is brought in here.
    """
    for module in model.modules():
        if isinstance(module, OutputLogits):
            module.own_scale = getattr(module, "own_scale", module.scale)
            module.scale = module.own_scale * scale


def token_logps(ids: Sequence[int], logprobs: Sequence[dict]) -> list[float]:
    """The log-probability of each token."""
    return [known[i].logprob for i, known in zip(ids, logprobs, strict=True)]
