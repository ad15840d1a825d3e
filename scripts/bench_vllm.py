"""Sampling by our own engine and by vLLM: seconds, the gap to the trainer's log-probabilities, sending of weights.

    python -m scripts.bench_vllm

8 prompts with a picture each, 8 samples of 128 tokens, on a LLaVA with random weights, on whatever device there is.
Each is timed when its kernels are warm.
"""

import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from demo.model import TinyConfig, build_tiny_llava
from training.utils.config.stage_config import PredictConfig
from training.utils.data.encode import Encoder, without_responses
from training.utils.data.loader import Collator
from training.utils.data.tree import Tree
from training.utils.loop.prepare import build_encoder, load_ranked
from training.utils.model.build_model import build_policy
from training.utils.model.generate import Sampling
from training.utils.model.policy import Policy
from training.utils.process import dist
from training.utils.process.command import run_command
from training.utils.rollouts.build import build_rollout_engine
from training.utils.rollouts.rollout_engine import Answers, RolloutEngine
from training.utils.rollouts.sampling import build_sampling

SAMPLES = Path("data/samples")
NUM_PROMPTS, NUM_SAMPLES, LENGTH = 8, 8, 128
SHAPES = {"hidden_size": 288, "num_layers": 4, "vision_layers": 6, "vision_size": 256}


def timed(engine: RolloutEngine, trees: Sequence[Tree], sampling: Sampling) -> tuple[float, list[Answers]]:
    """Seconds of sampling, and what was sampled."""
    engine.respond(trees, replace(sampling, max_new_tokens=4), NUM_SAMPLES, range(len(trees)))
    started = monotonic()
    answered = engine.respond(trees, sampling, NUM_SAMPLES, range(len(trees)))
    return monotonic() - started, answered


@torch.no_grad()
def differences(
    policy: Policy, encoder: Encoder, trees: Sequence[Tree], answered: Sequence[Answers]
) -> Tensor:
    """|log p engine - log p trainer| of all tokens, nats."""
    found = []
    for tree, answers in zip(trees, answered, strict=True):
        batch = Collator(encoder, has_images=False)([tree.with_responses(answers.ids, set())]).to(
            dist.device()
        )
        told = torch.tensor([logp for logps in answers.logps for logp in logps])
        found.append((told - policy(batch).cpu()).abs())
    return torch.cat(found)


def compare(config: PredictConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    records = [without_responses(each) for each in load_ranked(config, encoder, 0)[:NUM_PROMPTS]]
    trees = [encoder.encode(record) for record in records]
    policy = build_policy(config, config.from_checkpoint, encoder.family, trainable=False).to(dist.device())
    sampling = replace(build_sampling(config, encoder, LENGTH), stop_ids=())
    sampling = replace(sampling, forbidden_ids=(*sampling.forbidden_ids, *encoder.stop_ids))
    tokens = NUM_PROMPTS * NUM_SAMPLES * LENGTH

    own = build_rollout_engine(
        replace(config, rollout_engine="own"), lambda: nullcontext(policy), encoder, 8, 1
    )
    seconds, _ = timed(own, trees, sampling)
    print(f"{config.precision}, own engine: {seconds:.1f} s, {tokens / seconds:,.0f} tokens/s", flush=True)
    started = monotonic()
    vllm = build_rollout_engine(config, lambda: nullcontext(policy), encoder, 8, config.max_seq_len)
    print(f"{config.precision}, vLLM starts in {monotonic() - started:.1f} s", flush=True)
    with vllm.awake():  # the first reload makes what later ones have
        pass
    started = monotonic()
    with vllm.awake():
        reloaded = monotonic() - started
        seconds, answered = timed(vllm, trees, sampling)
    gap = differences(policy, encoder, trees, answered)
    found = sum(len(ids) for answers in answered for ids in answers.ids)
    print(
        f"{config.precision}, vLLM: {seconds:.1f} s, {found / seconds:,.0f} tokens/s; weights in {reloaded:.2f} s"
    )
    print(
        f"{config.precision}, gap of {len(gap):,} tokens: mean {gap.mean():.1e}, at most {gap.max():.1e} nats, "
        f"{(gap > 0.1).float().mean():.2%} beyond 0.1",
        flush=True,
    )


def main() -> None:
    dist.init_distributed(seed=0)
    with tempfile.TemporaryDirectory() as folder:
        build_tiny_llava(TinyConfig(output=folder, texts=str(SAMPLES), **SHAPES))
        for precision in ("fp32", "bf16"):
            compare(
                PredictConfig(
                    from_checkpoint=folder,
                    data_path=str(SAMPLES / "ppo.json"),
                    output_path=f"{folder}/unused.jsonl",
                    rollout_engine="vllm",
                    rollout_gpu_share=0.3,
                    precision=precision,
                    temperature=1.0,
                    max_seq_len=1024,
                )
            )
    sys.stdout.flush()
    dist.shutdown()


if __name__ == "__main__":
    run_command(main)
