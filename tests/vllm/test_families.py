"""vLLM beside the trainer, by families: prompts and log-probabilities are its own, before and after it moves."""

from contextlib import nullcontext

import pytest

from demo.model import TinyConfig, build_tiny_llava
from tests import tiny_families
from tests.conftest import RECORDS, SAMPLES, TINY_SHAPES
from tests.ppo.test_gap import move
from tests.tiny_families import build_tiny
from tests.vllm.test_vllm_engine import gap_of
from training.utils.config.stage_config import PredictConfig
from training.utils.data.encode import without_responses
from training.utils.data.record import DataError
from training.utils.loop.prepare import build_encoder
from training.utils.model.build_model import build_policy
from training.utils.rollouts.build import build_rollout_engine
from training.utils.rollouts.gap import EngineGap, require_same_prompts
from training.utils.rollouts.sampling import build_sampling


def parts(name, folder, monkeypatch):
    """An engine of a tiny model, its policy, encoder, and prompts with one, two and no pictures."""
    monkeypatch.setattr(tiny_families, "HIDDEN", 128)  # heads of 32: on a CPU vLLM computes no smaller ones
    build_tiny(name, folder)
    paths = {"from_checkpoint": str(folder), "data_path": "unused", "output_path": "unused.jsonl"}
    config = PredictConfig(**paths, rollout_engine="vllm", temperature=1.0, max_seq_len=1024)
    encoder = build_encoder(config, config.from_checkpoint)
    policy = build_policy(config, config.from_checkpoint, encoder.family, trainable=False)
    engine = build_rollout_engine(config, lambda: nullcontext(policy), encoder, at_a_time=8, longest=1024)
    trees = [encoder.encode(without_responses(each)) for each in RECORDS]
    return engine, policy, encoder, trees, build_sampling(config, encoder, 12)


@pytest.mark.parametrize("name", ["llava_next", "qwen2_5_vl", "qwen3_vl", "internvl", "smolvlm"])
def test_log_probabilities_are_the_trainers(name, tmp_path, monkeypatch):
    engine, policy, encoder, trees, sampling = parts(name, tmp_path, monkeypatch)
    for _ in range(2):
        assert gap_of(engine, policy, encoder, trees, sampling)[1] < 1e-4
        move(policy.requires_grad_(True))


def test_a_model_that_vllm_does_not_know_is_told_in_one_sentence(tmp_path):
    """A tower of open_clip, as the demo's models have."""
    build_tiny_llava(TinyConfig(str(tmp_path), str(SAMPLES), picture_px=64, resnet_width=8, **TINY_SHAPES))
    paths = {"from_checkpoint": str(tmp_path), "data_path": "unused", "output_path": "unused.jsonl"}
    config = PredictConfig(**paths, rollout_engine="vllm", max_seq_len=256)
    encoder = build_encoder(config, config.from_checkpoint)
    policy = build_policy(config, config.from_checkpoint, encoder.family, trainable=False)
    with pytest.raises(
        DataError, match="--rollout_engine vllm: it does not start: Unsupported vision config"
    ):
        build_rollout_engine(config, lambda: nullcontext(policy), encoder, at_a_time=8, longest=256)


def test_a_family_whose_prompts_vllm_writes_otherwise_is_refused(tmp_path, monkeypatch):
    """It joins the line breaks around a picture of Gemma 3 with that of the text."""
    engine, _, _, trees, sampling = parts("gemma3", tmp_path, monkeypatch)
    with engine.awake():
        answered = engine.respond(trees, sampling, 1, range(len(trees)))
    with pytest.raises(EngineGap, match="has read another prompt than the trainer"):
        require_same_prompts(trees, answered)
