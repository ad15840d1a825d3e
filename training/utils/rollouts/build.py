"""Which engine samples."""

from ..config.rollout_config import EngineConfig
from ..data.encode import Encoder
from .own import OwnEngine
from .rollout_engine import Lend, RolloutEngine


def build_rollout_engine(
    config: EngineConfig, lend: Lend, encoder: Encoder, at_a_time: int, longest: int
) -> RolloutEngine:
    """The engine of `--rollout_engine`.

    Args:
        at_a_time: prompts that our own engine answers in one call of generation; vLLM finds that out itself.
        longest: tokens of a prompt with its response, at most.
    """
    if config.rollout_engine == "own":
        return OwnEngine(lend, encoder.tokenizer.pad_token_id, at_a_time)
    from .vllm_engine import VLLMEngine  # it takes long to import, and may not be there

    return VLLMEngine(lend, encoder, config, longest)
