"""The steps of the stages as they are trained, up to the optimizer, on a device that counts."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest.mock import patch

import torch

from scripts.rehearsal.captured import FITTED, captured_fit
from scripts.rehearsal.counts import Counts
from scripts.rehearsal.device import Device, fake_device
from scripts.rehearsal.engine import FakeDeepSpeed
from scripts.rehearsal.shapes import MODELS, load_model, trees, write_config
from training.ppo.experience import assign_credit, observe
from training.ppo.models import Models
from training.ppo.update import update
from training.rewards.sampler import Sampled
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import SFTConfig
from training.utils.data.tree import Batch, Tree, collate
from training.utils.engine.engine import Engine
from training.utils.loop.tally import Tally
from training.utils.losses.policy import RunningMoments
from training.utils.model import build_model
from training.utils.model.family import Family
from training.utils.model.generate import Sampling, generate, prefill
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.process import dist

FLAGS = {
    "data_path": "unread",
    "output_dir": "unwritten",
    "precision": "bf16",
    "gradient_checkpointing": True,
    "lang_decoder_update": True,
}
NUM_WORDS = 64  # of a prompt, besides its picture


@dataclass(frozen=True)
class Work:
    """A micro-batch: prompts, responses to each, tokens of a response, and of the prompt where that is set."""

    num_prompts: int
    num_responses: int
    response_len: int = 96
    prompt_len: int = 0


WORK = {
    "sft": Work(4, 1),
    "rm": Work(4, 4),
    "dpo": Work(4, 2),
    "ppo": Work(4, 4),
    "grpo": Work(1, 8, response_len=300, prompt_len=1200),
    "generate": Work(8, 4),
}


class Rehearsal:
    """One model of a family and size on a fake device. Use it as a context."""

    rounds = 2  # of a step; the last one counts: the first builds tables that are kept
    engine = FakeDeepSpeed
    on_device = staticmethod(fake_device)

    def __init__(self, family: str, size: str, num_layers: int | None = None) -> None:
        self.name, self.picture = MODELS[family, size]
        self.num_layers = num_layers

    def __enter__(self) -> "Rehearsal":
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(TemporaryDirectory()))
        write_config(self.name, self.folder, self.num_layers)
        self.family = build_model.get_family("auto", self.folder)
        self.config = build_model.read_config(self.folder)
        engines = SimpleNamespace(
            initialize=lambda model, **more: (self.engine(model, **more), None, None, None)
        )
        self.stack.enter_context(patch.object(Family, "load_model", load_model))
        self.stack.enter_context(patch("training.utils.engine.engine.deepspeed", lambda: engines))
        self.device: Device = self.stack.enter_context(self.on_device())
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def flags(self, config_class: type, **more):
        return config_class(from_checkpoint=str(self.folder), **FLAGS | more)

    def trees(self, work: Work) -> list[Tree]:
        num_words = max(work.prompt_len - self.picture.num_tokens - 1, NUM_WORDS)
        return trees(
            self.config, self.picture, work.num_prompts, num_words, work.num_responses, work.response_len
        )

    def batch(self, prompts: list[Tree], as_rows: bool) -> Batch:
        """Trees as the product batches them, a row each; or each response in a row of its own."""
        if as_rows:
            prompts = [branch for tree in prompts for branch in tree.branches()]
        return collate([[tree] for tree in prompts], 0, self.family.stack_vision).to(dist.device())

    # -- stages -------------------------------------------------------------------------------------

    def fitted(self, stage: str, as_rows: bool) -> dict[str, Counts]:
        """A micro-batch of SFT, reward model or DPO: losses, gradients and figures."""
        config = self.flags(FITTED[stage][1])
        engine, losses_of = captured_fit(stage, config, self.family)
        prompts, tally = self.trees(WORK[stage]), Tally()

        def micro_batch() -> None:
            batch = self.batch(prompts, as_rows)
            with self.device.counting() as counts:
                losses, figures = losses_of(batch)
                engine.backward(losses.sum() / 8.0)
                tally.add(figures)
            self.last = counts

        for _ in range(self.rounds):
            micro_batch()
        return {stage: self.last}

    def optimised(self, stage: str, as_rows: bool) -> dict[str, Counts]:
        """PPO with a critic, or GRPO: what the models say of sampled responses, their credit, and the update."""
        config = self.flags(
            PPOConfig,
            reward_functions=["unused:unused"],
            critic_init="policy",
            advantage_estimator="gae" if stage == "ppo" else "grpo",
            num_generations=WORK[stage].num_responses,
        )
        models = self.models(config)
        prompts = self.trees(WORK[stage])
        batch = self.batch(prompts, as_rows)
        counted, tally = {}, Tally()
        for _ in range(self.rounds):
            scores = torch.zeros(batch.num_responses, device=dist.device())
            with self.device.counting() as counted[f"{stage} observe"]:
                seen = observe([Sampled(prompts, batch, scores, {})], models, config)
            with self.device.counting() as counted[f"{stage} assign_credit"]:
                assign_credit(seen, RunningMoments(), 0.1, config)
            with self.device.counting() as counted[f"{stage} update"]:
                update([seen], models, tally, config, 0.1)
        return counted

    def models(self, config: PPOConfig) -> Models:
        policy = build_model.build_policy(config, self.folder, self.family)
        frozen = build_model.build_policy(config, self.folder, self.family, trainable=False).to(dist.device())
        critic = (
            build_model.build_value_model(config, self.folder, self.family) if config.has_critic else None
        )
        share_towers(*filter(None, (policy, frozen, critic)))
        actor = Engine(policy, config.for_actor, total_steps=1)
        return Models(actor, critic and Engine(critic, config.for_critic, total_steps=1), frozen, None)

    def sampled(self, stage: str, as_rows: bool) -> dict[str, Counts]:
        """The prefill of a generation, and one token more for each sample."""
        policy, prompts, num_samples = self.asked(WORK[stage], as_rows)
        counted = {}

        def tokens(length: int) -> Counts:
            sampling = Sampling(length, temperature=1.0, top_p=0.9, stop_ids=(2,), num_tokens=32_000)
            with self.device.counting() as counts:
                generate(policy, prompts, sampling, num_samples)
            return counts

        with torch.no_grad():
            prefill(policy, prompts, 0)
            with self.device.counting() as counted["prefill"]:
                prefill(policy, prompts, 0)
        tokens(2)
        counted["one token"] = tokens(4) - tokens(3)
        return counted

    def asked(self, work: Work, as_rows: bool) -> tuple[Policy, list[Tree], int]:
        """A policy, prompts without responses, and how many samples of each; one, where each has a row."""
        config = self.flags(SFTConfig)
        policy = build_model.build_policy(config, self.folder, self.family, trainable=False).to(dist.device())
        prompts = [tree.with_responses([], set()) for tree in self.trees(work)]
        if as_rows:
            return policy, [tree for tree in prompts for _ in range(work.num_responses)], 1
        return policy, prompts, work.num_responses

    def count(self, stage: str, as_rows: bool = False) -> dict[str, Counts]:
        """What a stage's micro-batch costs, by its parts."""
        runs: dict[str, Callable[[str, bool], dict[str, Counts]]] = {
            **dict.fromkeys(("sft", "rm", "dpo"), self.fitted),
            **dict.fromkeys(("ppo", "grpo"), self.optimised),
            "generate": self.sampled,
        }
        return runs[stage](stage, as_rows)
