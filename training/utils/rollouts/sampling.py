"""How answers are sampled, from flags and what a checkpoint's encoder knows of tokens."""

from ..config.ppo_config import PPOConfig
from ..config.sampled_config import DriftConfig
from ..config.stage_config import PredictConfig
from ..data.encode import Encoder
from ..model.generate import Sampling


def build_sampling(
    config: PPOConfig | PredictConfig | DriftConfig, encoder: Encoder, max_new_tokens: int
) -> Sampling:
    """How tokens are chosen, as the flags say."""
    chosen = {"temperature": config.temperature, "top_k": config.topk, "top_p": config.topp}
    return sampling_for(encoder, max_new_tokens, **chosen)


def sampling_for(encoder: Encoder, max_new_tokens: int, **chosen: float) -> Sampling:
    """How tokens are chosen: a response never holds a token of the structure but the one that ends it, nor an id
    that the tokenizer does not know.

    Args:
        chosen: temperature, top_k and top_p, as `Sampling` has them.
    """
    return Sampling(
        max_new_tokens=max_new_tokens,
        **chosen,
        stop_ids=tuple(encoder.stop_ids),
        forbidden_ids=tuple(encoder.forbidden_ids),
        num_tokens=encoder.vocabulary.num_tokens,
    )
