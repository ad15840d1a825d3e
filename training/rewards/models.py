"""Reward models: the kinds that there are, what each reads, and how several count together.

Each may be of another family, tokenizer or template than the policy. To add a kind, write a class like those below
and add it to `KINDS`.
"""

from pathlib import Path
from typing import Protocol

from training.rewards.ensemble import Ensemble, scales_of
from training.rewards.rendering import model_reward, reading_reward
from training.rewards.reward import Reward, Rewards, each
from training.rewards.verdict import VerdictForm, VerdictReader, rendering
from training.utils.config.ensemble_config import EnsembleConfig
from training.utils.config.model_config import ModelConfig
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.files.model_folder import HEAD_FILE, read_metadata, resolve_checkpoint
from training.utils.model.build_model import build_value_model
from training.utils.model.value_head import ValueModel
from training.utils.process import dist


class RewardModel(Protocol):
    """A reward model in a folder, before it is loaded."""

    starts_critics: bool  # whether a critic can start from it

    def __init__(self, checkpoint: str, encoder: Encoder) -> None:
        """
        Args:
            encoder: its own.
        """

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a model folder holds one of this kind."""

    def build(self, config: ModelConfig) -> ValueModel:
        """It itself, frozen."""

    def reward(
        self, model: ValueModel, policy_encoder: Encoder, has_images: bool, captions: str = ""
    ) -> Reward:
        """What it gives to a policy's responses.

        Args:
            model: of `build`, or what an engine made of that.
            captions: files of captions that it reads too; empty: none.
        """


class Scalar:
    """A value head, trained by run_rm_training.sh."""

    starts_critics = True

    def __init__(self, checkpoint: str, encoder: Encoder) -> None:
        self.checkpoint, self.encoder = checkpoint, encoder

    @staticmethod
    def is_in(folder: Path) -> bool:
        return (folder / HEAD_FILE).is_file()

    def build(self, config: ModelConfig) -> ValueModel:
        return build_value_model(
            config, self.checkpoint, self.encoder.family, trainable=False, needs_head=True
        )

    def reward(
        self, model: ValueModel, policy_encoder: Encoder, has_images: bool, captions: str = ""
    ) -> Reward:
        return model_reward(model, self.encoder, policy_encoder, has_images, captions)


class Verdicts:
    """A language model that says whether an answer is right, trained by run_sft.sh (verdict.py)."""

    starts_critics = False

    def __init__(self, checkpoint: str, encoder: Encoder) -> None:
        form = VerdictForm(**read_metadata(resolve_checkpoint(checkpoint))["verdict"])
        self.checkpoint, self.encoder = checkpoint, encoder
        self.reader = VerdictReader(encoder, form)

    @staticmethod
    def is_in(folder: Path) -> bool:
        return "verdict" in read_metadata(folder)

    def build(self, config: ModelConfig) -> ValueModel:
        return build_value_model(
            config, self.checkpoint, self.encoder.family, trainable=False, verdict=self.reader.tokens
        )

    def reward(
        self, model: ValueModel, policy_encoder: Encoder, has_images: bool, captions: str = ""
    ) -> Reward:
        return reading_reward(model, self.encoder, has_images, rendering(self.reader, policy_encoder))


KINDS: tuple[type[RewardModel], ...] = (Scalar, Verdicts)


def kind_of(checkpoint: str) -> type[RewardModel]:
    """
    Raises:
        DataError: a folder holds no reward model of any kind.
    """
    folder = resolve_checkpoint(checkpoint)
    kind = next((kind for kind in KINDS if kind.is_in(folder)), None)
    if kind is None:
        raise DataError(
            f"{folder}: holds no reward model; expected a {HEAD_FILE}, of run_rm_training.sh, or a model that has "
            "learned verdicts, by run_sft.sh from rows of data.verdicts"
        )
    return kind


def load_reward_models(
    config: ModelConfig,
    encoders: dict[str, Encoder],
    captions: dict[str, str],
    policy_encoder: Encoder,
    has_images: bool,
) -> tuple[dict[str, Reward], tuple[ValueModel, ...]]:
    """The rewards of some frozen reward models by their checkpoints, and the models, on this process's device.

    Args:
        encoders: of each, by its checkpoint.
        captions: files of captions that each reads; empty: none.

    Raises:
        DataError: a checkpoint is no reward model.
    """
    rewards, models = {}, []
    for path, encoder in encoders.items():
        reward_model = kind_of(path)(path, encoder)
        models.append(reward_model.build(config).to(dist.device()))
        rewards[path] = reward_model.reward(models[-1], policy_encoder, has_images, captions[path])
    return rewards, tuple(models)


def together(config: EnsembleConfig, rewards: dict[str, Reward]) -> Rewards:
    """Reward models, each for itself or with `--reward_ensemble` as one.

    Args:
        rewards: by the checkpoint of each.
    """
    if not config.reward_ensemble:
        return each(rewards)
    return Ensemble(rewards, scales_of([*rewards]), config.reward_ensemble, config.ensemble_deviations)


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
