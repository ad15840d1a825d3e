"""Reward models: the kinds that there are, what each reads, and how several count together.

Each may be of another family, tokenizer or template than the policy. To add a kind, write a class like those below
and add it to `KINDS`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from training.rewards.ensemble import Ensemble, scales_of
from training.rewards.rendering import model_reward, reading_reward
from training.rewards.reward import Reward, Rewards, each
from training.rewards.verdict import VerdictForm, VerdictReader, rendering
from training.utils.config.aspects import weights_of
from training.utils.config.ensemble_config import EnsembleConfig
from training.utils.config.model_config import ModelConfig
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.data.tree import Batch, Tree
from training.utils.files.model_folder import HEAD_FILE, read_aspects, read_metadata, resolve_checkpoint
from training.utils.model.build_model import build_value_model
from training.utils.model.value_head import ValueModel
from training.utils.process import dist


class RewardModel(Protocol):
    """A reward model in a folder, before it is loaded."""

    starts_critics: bool  # whether a critic can start from it

    def __init__(self, checkpoint: str, encoder: Encoder, aspect_weights: Sequence[str] = ()) -> None:
        """
        Args:
            encoder: its own.
            aspect_weights: as `--aspect_weights` has them.

        Raises:
            DataError: they are not for this model.
        """

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether a model folder holds one of this kind."""

    def build(self, config: ModelConfig) -> ValueModel:
        """It itself, frozen."""

    def reward(
        self, model: ValueModel, policy_encoder: Encoder, has_images: bool, captions: str = ""
    ) -> Rewards:
        """What it gives to a policy's responses: under its checkpoint's name the score, and beside it what that is
        made of.

        Args:
            model: of `build`, or what an engine made of that.
            captions: files of captions that it reads too; empty: none.
        """


class Scalar:
    """A value head, trained by run_rm_training.sh; with aspects it has an output for each, and their sum counts."""

    def __init__(self, checkpoint: str, encoder: Encoder, aspect_weights: Sequence[str] = ()) -> None:
        self.checkpoint, self.encoder = checkpoint, encoder
        self.aspects = read_aspects(resolve_checkpoint(checkpoint))
        self.weights = weights_among(self.aspects, aspect_weights, checkpoint)

    @property
    def starts_critics(self) -> bool:
        return not self.aspects

    @staticmethod
    def is_in(folder: Path) -> bool:
        return (folder / HEAD_FILE).is_file()

    def build(self, config: ModelConfig) -> ValueModel:
        return build_value_model(
            config, self.checkpoint, self.encoder.family, trainable=False, needs_head=True
        )

    def reward(
        self, model: ValueModel, policy_encoder: Encoder, has_images: bool, captions: str = ""
    ) -> Rewards:
        score = model_reward(model, self.encoder, policy_encoder, has_images, captions)
        return self._summed(score) if self.aspects else each({self.checkpoint: score})

    def _summed(self, score: Reward) -> Rewards:
        def rewards(trees: Sequence[Tree], batch: Batch) -> dict[str, Tensor]:
            scores = score(trees, batch).float()  # [R, A]
            parts = {name_of(self.checkpoint, name): scores[:, k] for k, name in enumerate(self.aspects)}
            return {self.checkpoint: scores @ scores.new_tensor(self.weights)} | parts

        return rewards


class Verdicts:
    """A language model that says whether an answer is right, trained by run_sft.sh (verdict.py)."""

    starts_critics = False

    def __init__(self, checkpoint: str, encoder: Encoder, aspect_weights: Sequence[str] = ()) -> None:
        weights_among((), aspect_weights, checkpoint)
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
    ) -> Rewards:
        rendered = rendering(self.reader, policy_encoder)
        return each({self.checkpoint: reading_reward(model, self.encoder, has_images, rendered)})


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


def name_of(checkpoint: str, aspect: str) -> str:
    """Of the scores that a reward model gives for an aspect."""
    return f"{checkpoint} {aspect}"


def weights_among(aspects: Sequence[str], given: Sequence[str], checkpoint: str) -> list[float]:
    """How much each aspect of a reward model counts; their mean, if nothing is given.

    Raises:
        DataError: the model has not an aspect that is named.
    """
    weights = weights_of(given)
    if unknown := [name for name in weights if name not in aspects]:
        has = f"the aspects {', '.join(aspects)}" if aspects else "no aspects"
        raise DataError(f"--aspect_weights {' '.join(unknown)}: {checkpoint} has {has}")
    return [weights.get(name, 0.0) if weights else 1 / len(aspects) for name in aspects]


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
