"""Where the log-probabilities of the reference come from.

a frozen model                  in general: that which is trained, as it was, or --reference
the policy without adapters     where adapters are all that is trained: no second model in memory
a cache on disk                 with --reference_cache: computed once, for any number of runs
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from training.dpo.reference_cache import ReferenceCache
from training.rewards.observed import TokenLogps
from training.utils.config.stage_config import DPOConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Data
from training.utils.data.record import DataError
from training.utils.data.tree import Batch
from training.utils.engine.engine import Engine, inference_engine
from training.utils.loop.prepare import build_encoder
from training.utils.losses.responses import segment_sum
from training.utils.model.build_model import build_policy
from training.utils.model.lora import without_adapters
from training.utils.model.policy import Policy
from training.utils.model.same_reading import reads_the_same
from training.utils.model.tower import share_towers

Reference = Callable[[Batch], Tensor]  # log-probabilities of the responses of a batch in nats, [R]


def response_logps(model: TokenLogps, batch: Batch, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of whole responses in nats, [R]."""
    return segment_sum(model(batch, temperature), batch.response, batch.num_responses)


def of_responses(model: TokenLogps) -> Reference:
    @torch.no_grad()
    def reference(batch: Batch) -> Tensor:
        return response_logps(model, batch)

    return reference


def load_frozen(
    config: DPOConfig,
    policy: Policy,
    encoder: Encoder,
    *beside: nn.Module,
    remembered_batches: int = 1,
    rests: bool = False,
) -> nn.Module | None:
    """The reference as a frozen model, before the policy goes into its engine; none where the policy with
    `AdaptersOff` will do.

    Args:
        beside: other models that may share their towers with these two; and how many batches of images a tower
            remembers for all of them.
        rests: as of `inference_engine`.
    """
    if config.only_optimize_lora and not config.reference_cache and not config.reference:
        share_towers(policy, *beside, remembered_batches=remembered_batches)
        return None
    if config.reference:
        require_same_tokens(config, encoder)
    frozen = build_policy(config, config.reference or config.from_checkpoint, encoder.family, trainable=False)
    share_towers(policy, frozen, *beside, remembered_batches=remembered_batches)
    return inference_engine(frozen, config, rests)


def load_reference(config: DPOConfig, policy: Policy, data: Data) -> Reference | None:
    """The reference of given responses; none as of `load_frozen`."""
    frozen = load_frozen(config, policy, data.encoder)
    if frozen is None:
        return None
    reference = of_responses(frozen)
    if not config.reference_cache:
        return reference
    cache = ReferenceCache(config, data.encoder)
    cache.fill([*data.train, *data.held_out], data, reference)
    data.encode = cache.encoding_with(data.encode)
    return lambda batch: batch.ref_logps


def require_same_tokens(config: DPOConfig, encoder: Encoder) -> None:
    """
    Raises:
        DataError: `--reference` would read other tokens or pixels than the policy.
    """
    other = build_encoder(config, config.reference)
    if not reads_the_same(encoder, other):
        raise DataError(
            f"--reference {config.reference}: reads other tokens or pictures than --from_checkpoint "
            f"{config.from_checkpoint}; expected a model with its tokenizer, template and image processor"
        )


class AdaptersOff:
    """A policy whose adapters are all that is trained, as it was before: its own reference."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.working = engine.working

    def __call__(self, batch: Batch, temperature: float = 1.0) -> Tensor:
        with without_adapters(self.engine.module):
            return self.engine(batch, temperature)
