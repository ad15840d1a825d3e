"""Sampling responses of the policy, as trees that training can take."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from training.ppo.experience import Experience
from training.utils import dist, jsonl
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator, eval_shares
from training.utils.data.record import Record
from training.utils.data.tree import Tree
from training.utils.engine import Engine
from training.utils.model.generate import Sampling, generate
from training.utils.stage_config import PPOConfig
from training.utils.tally import Tally


def sample(
    actor: Engine,
    encoder: Encoder,
    prompts: Sequence[Sequence[Tree]],
    sampling: Sampling,
    num_samples: int,
    seed: int,
    step: int,
) -> list[list[Tree]]:
    """The prompts of each micro-batch with `num_samples` responses each.

    The seed, the step and the process decide the random numbers, so a resumed run samples the same.
    """
    generator = torch.Generator(dist.device()).manual_seed(hash((seed, step, dist.rank())))
    sampled = []
    with actor.whole_weights() as policy:
        policy.eval()
        for trees in prompts:
            responses = generate(
                policy, trees, sampling, num_samples, generator, encoder.tokenizer.pad_token_id
            )
            sampled.append(
                [
                    tree.with_responses(ids, encoder.stop_ids)
                    for tree, ids in zip(trees, responses, strict=True)
                ]
            )
        policy.train()
    return sampled


@torch.no_grad()
def evaluate(
    actor: Engine,
    reward_model: nn.Module,
    encoder: Encoder,
    collate: Collator,
    records: Sequence[Record],
    sampling: Sampling,
    config: PPOConfig,
) -> dict[str, float]:
    """Mean score of one response to each held-out prompt, sampled as in training with fixed random numbers."""
    tally = Tally()
    for share, counts in eval_shares(records, config.per_device_eval_batch_size):
        prompts = [encoder.encode(record) for record in share]
        (trees,) = sample(actor, encoder, [prompts], sampling, num_samples=1, seed=config.seed, step=0)
        batch = collate(trees).to(dist.device())
        scores = reward_model(batch, batch.last_token)
        if counts:
            tally.add({"eval_reward": (scores.sum(), len(scores))})
    return tally.means()


class Rollouts:
    """Writes what was sampled to `rollouts.jsonl`, so that a person can read what the reward model likes."""

    def __init__(self, config: PPOConfig, encoder: Encoder, start_step: int) -> None:
        self.file = Path(config.output_dir) / "rollouts.jsonl"
        self.encoder = encoder
        if dist.is_main():
            jsonl.cut_after(self.file, start_step)

    def write(self, step: int, trees: Sequence[Sequence[Tree]], experiences: Sequence[Experience]) -> None:
        """The responses of the main process, with their scores and KL in nats."""
        if not dist.is_main():
            return
        for micro_batch, experience in zip(trees, experiences, strict=True):
            scores, kl = iter(experience.scores.tolist()), iter(experience.kl.tolist())
            for tree in micro_batch:
                responses = [self.encoder.decode(response.ids) for response in tree.responses]
                line = {"step": step, "id": tree.id, "responses": responses}
                line["scores"] = [next(scores) for _ in responses]
                line["kl"] = [next(kl) for _ in responses]
                jsonl.append(self.file, line)
