"""The models of policy optimisation: a policy and its reference, a critic, and what rewards.

Each is a model of its own, or with `--share_backbone` an adapter and a head of one.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.rewards.kinds import RewardModel, kind_of
from training.rewards.models import captions_for
from training.rewards.reward import WeightedRewards
from training.rewards.weighted import weighted
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.train_config import TrainConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Data
from training.utils.data.record import DataError
from training.utils.engine.engine import Engine, inference_engine
from training.utils.engine.offload import away
from training.utils.files.model_folder import read_aspects, require_reward_model
from training.utils.loop.prepare import build_encoder
from training.utils.losses.policy import RunningMoments
from training.utils.model.backbone import Adapted
from training.utils.model.build_model import (
    build_backbone,
    build_policy,
    build_value_model,
    load_head,
    require_adapter,
)
from training.utils.model.lora import ADAPTER
from training.utils.model.policy import Policy
from training.utils.model.same_reading import reads_the_same
from training.utils.model.tower import share_towers
from training.utils.model.value_head import ValueModel


@dataclass
class Models:
    actor: Engine
    critic: Engine | None  # none where the advantages need no values
    reference: nn.Module
    rewards: WeightedRewards

    @property
    def engines(self) -> dict[str, Engine]:
        return {"actor": self.actor} | ({"critic": self.critic} if self.critic else {})

    def standardise_critic(self, scores: Sequence[Tensor]) -> None:
        """Lets a critic that starts as a reward model start where its targets are: at scores of mean 0 and standard
        deviation 1, whatever the reward model's own. All processes must call it.

        Args:
            scores: of the reward model that it starts from, for the first responses that were sampled.
        """
        moments = RunningMoments()
        moments.add(torch.cat(list(scores)))
        self.critic_scale = (moments.mean, max(moments.std, 1e-4))

    @property
    def critic_scale(self) -> tuple[float, float] | None:
        """Mean and standard deviation that the critic measures by: a checkpoint has to keep them."""
        return self.critic and self.critic.module.v_head.scale

    @critic_scale.setter
    def critic_scale(self, scale: tuple[float, float]) -> None:
        self.critic.module.v_head.scale = scale

    @property
    def passed_over(self) -> dict[str, int]:
        """How many updates moved nothing so far, by engine and reason; only what has happened."""
        shown = {name: engine.counts.shown for name, engine in self.engines.items()}
        return {f"{name}_{why}": count for name, counts in shown.items() for why, count in counts.items()}


def build_models(config: PPOConfig, encoder: Encoder, data: Data) -> Models:
    """The models of a run, on their devices and in their engines.

    Raises:
        DataError: a checkpoint can't play its role.
    """
    encoders = {path: build_encoder(config.for_another_model, path) for path in config.reward_model_ckpt_path}
    if config.critic_is_reward_model and not reads_the_same(encoder, encoders[config.critic_checkpoint]):
        raise DataError(
            f"{config.critic_checkpoint}: reads other tokens than the policy, so no critic can start from it; use "
            "--critic_init policy"
        )
    captions = {path: captions_for(path, config.captions) for path in encoders}
    kinds = {path: kind_of(path)(path, own, config.aspect_weights) for path, own in encoders.items()}
    if config.critic_is_reward_model and not kinds[config.critic_checkpoint].starts_critics:
        raise DataError(
            f"{config.critic_checkpoint}: has no values that a critic could start from; use --critic_init policy"
        )
    build = one_backbone if config.share_backbone else separate_models
    policy, reference, value_model, reward_models = build(config, encoder, kinds)
    models = [model for model in (policy, reference, value_model, *reward_models.values()) if model]
    share_towers(*models, remembered_batches=data.sampler.accumulation)

    num_updates = data.sampler.num_steps * config.ppo_epochs * config.num_minibatches
    has_images = data.train.has_images
    of_models = {
        path: kinds[path].reward(model, encoder, has_images, captions[path])
        for path, model in reward_models.items()
    }

    def engine(model: nn.Module, of_role: TrainConfig) -> Engine:
        return Engine(model, of_role, total_steps=num_updates, rests=config.offload_idle_models)

    # Engines last: with one backbone in all roles, theirs is the mode that it keeps.
    with away(value_model) if config.offload_idle_models and value_model else nullcontext():
        actor = engine(policy, config.for_actor)
    critic = engine(value_model, config.for_critic) if value_model else None
    return Models(
        actor, critic, reference, weighted(config, of_models, tuple(reward_models.values()), encoder)
    )


# Policy and reference, critic and reward models; the reference and the reward models as they work, frozen.
Roles = tuple[Policy, nn.Module, ValueModel | None, dict[str, nn.Module]]


def separate_models(config: PPOConfig, encoder: Encoder, kinds: dict[str, RewardModel]) -> Roles:
    """A model for each role. Those that may rest come first: each has left the device before the next is loaded."""
    for_actor, for_critic, family = config.for_actor, config.for_critic, encoder.family
    rests = config.offload_idle_models
    gpu = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(gpu):  # what is trained starts from the same numbers, whoever is loaded before
        reference = build_policy(for_actor, config.from_checkpoint, family, trainable=False)
        reference = inference_engine(reference, for_actor, rests)
        reward_models = {}
        for path, kind in kinds.items():
            reward_models[path] = inference_engine(kind.build(for_critic), for_critic, rests)
    policy = build_policy(for_actor, config.from_checkpoint, family)
    value_model = (
        build_value_model(for_critic, config.critic_checkpoint, family) if config.has_critic else None
    )
    return policy, reference, value_model, reward_models


def one_backbone(config: PPOConfig, encoder: Encoder, kinds: dict[str, RewardModel]) -> Roles:
    """Adapters of one model, and the model without them as the reference."""
    sources = {ADAPTER: None}  # of each adapter: where it was trained; none: it is new
    folders = {path: require_reward_model(path) for path in config.reward_model_ckpt_path}
    for number, path in enumerate(folders):
        sources[f"reward{number}"] = require_adapter(path, config.from_checkpoint)
    critic_start = folders.get(config.critic_checkpoint)
    if config.has_critic:
        sources["critic"] = critic_start
    backbone = build_backbone(config.for_actor, encoder.family, sources)

    def value_model(adapter: str, head: Path | None, trainable: bool) -> ValueModel:
        aspects = read_aspects(head) if head else ()
        model = ValueModel(Adapted(backbone, adapter), encoder.family, aspects)
        if head:
            load_head(model, head)
        model.v_head.to(backbone.model.dtype)
        return model.requires_grad_(trainable)

    policy = Policy(Adapted(backbone, ADAPTER), encoder.family).requires_grad_(True)
    reference = inference_engine(Policy(Adapted(backbone, None), encoder.family), config.for_actor)
    critic = value_model("critic", critic_start, trainable=True) if config.has_critic else None
    reward_models = {
        path: inference_engine(value_model(f"reward{number}", folder, trainable=False), config.for_critic)
        for number, (path, folder) in enumerate(folders.items())
    }
    return policy, reference, critic, reward_models
