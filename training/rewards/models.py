"""Reward models as they are loaded, and how several count together."""

from collections.abc import Callable

from torch import nn

from training.rewards.ensemble import Ensemble, scales_of, tell_without_scales
from training.rewards.kinds import kind_of
from training.rewards.reward import Rewards
from training.utils.config.ensemble_config import EnsembleConfig
from training.utils.config.model_config import ModelConfig
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.files.model_folder import read_metadata, resolve_checkpoint
from training.utils.process import dist


def on_device(model: nn.Module) -> nn.Module:
    return model.to(dist.device())


def load_reward_models(
    config: ModelConfig | EnsembleConfig,
    encoders: dict[str, Encoder],
    captions: dict[str, str],
    policy_encoder: Encoder,
    has_images: bool,
    place: Callable[[nn.Module], nn.Module] = on_device,
) -> tuple[dict[str, Rewards], tuple[nn.Module, ...]]:
    """The rewards of some frozen reward models by their checkpoints, and the models.

    Args:
        encoders: of each, by its checkpoint.
        captions: files of captions that each reads; empty: none.
        place: brings a model to where it works.

    Raises:
        DataError: a checkpoint is no reward model.
    """
    rewards, models = {}, []
    for path, encoder in encoders.items():
        reward_model = kind_of(path)(path, encoder, config.aspect_weights)
        models.append(place(reward_model.build(config)))
        rewards[path] = reward_model.reward(models[-1], policy_encoder, has_images, captions[path])
    return rewards, tuple(models)


def together(config: EnsembleConfig, rewards: dict[str, Rewards]) -> list[Rewards]:
    """Reward models, each for itself or with `--reward_ensemble` as one.

    Args:
        rewards: by the checkpoint of each.
    """
    if not config.reward_ensemble:
        return [*rewards.values()]
    tell_without_scales([*rewards])
    return [
        Ensemble(
            rewards,
            scales_of([*rewards], config.aspect_weights),
            config.reward_ensemble,
            config.ensemble_deviations,
        )
    ]


def captions_for(checkpoint: str, captions: str) -> str:
    """The files of captions that a reward model reads: those that are given, if it was trained with captions, or
    nobody knows.

    Raises:
        DataError: it was trained with captions, and none are given.
    """
    reads = read_metadata(resolve_checkpoint(checkpoint)).get("captions", bool(captions))
    if reads and not captions:
        raise DataError(
            f"{checkpoint}: this reward model was trained to read captions of the pictures; expected --captions with "
            "theirs"
        )
    return captions if reads else ""
