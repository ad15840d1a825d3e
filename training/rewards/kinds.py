"""The kinds of reward models that there are, and what each reads.

Each may be of another family, tokenizer or template than the policy. To add a kind, write a class like those below
and add it to `KINDS`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor

from training.rewards.ensemble import scales_of
from training.rewards.rendering import model_reward
from training.rewards.reward import Reward, Rewards, each
from training.rewards.verdict import VerdictForm
from training.rewards.verdict_reader import VerdictReader
from training.rewards.verdict_reward import VerdictReward
from training.utils.config.aspects import weights_of
from training.utils.config.ensemble_config import EnsembleConfig
from training.utils.config.model_config import ModelConfig
from training.utils.config.train_config import TrainConfig
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.data.tree import Batch, Tree
from training.utils.files.model_folder import HEAD_FILE, read_aspects, read_metadata, resolve_checkpoint
from training.utils.model.build_model import build_value_model
from training.utils.model.value_head import ValueModel


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

    @staticmethod
    def compares(folder: Path) -> bool:
        """Whether it scores the answers to a prompt against each other."""

    @staticmethod
    def about(folder: Path) -> str:
        """What it says of answers, in words."""

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

    @staticmethod
    def compares(folder: Path) -> bool:
        return False

    @staticmethod
    def about(folder: Path) -> str:
        return f"a score by a value head{', for each of ' * bool(of := read_aspects(folder))}{', '.join(of)}"

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
    """A language model that says whether an answer is right, or which of two is better, trained by run_sft.sh
    (verdict.py)."""

    starts_critics = False

    def __init__(self, checkpoint: str, encoder: Encoder, aspect_weights: Sequence[str] = ()) -> None:
        weights_among((), aspect_weights, checkpoint)
        self.checkpoint, self.encoder = checkpoint, encoder
        self.reader = VerdictReader(encoder, form_in(resolve_checkpoint(checkpoint)))

    @staticmethod
    def is_in(folder: Path) -> bool:
        return "verdict" in read_metadata(folder)

    @staticmethod
    def compares(folder: Path) -> bool:
        return form_in(folder).compares

    @staticmethod
    def about(folder: Path) -> str:
        return f"a verdict, {form_in(folder).name}"

    def build(self, config: ModelConfig) -> ValueModel:
        """
        Raises:
            DataError: it writes critiques, and its weights would be shared out over the processes.
        """
        speaks = self.reader.form.has_critique
        if speaks and isinstance(config, TrainConfig) and config.zero_stage == 3:
            raise DataError(
                f"{self.checkpoint}: writes critiques, so each process needs all of it; expected ZeRO stage 2 or "
                "less, or a reward model that gives verdicts alone (data.verdicts --without_critiques)"
            )
        tokens = self.reader.tokens
        return build_value_model(
            config, self.checkpoint, self.encoder.family, trainable=False, verdict=tokens, speaks=speaks
        )

    def reward(
        self, model: ValueModel, policy_encoder: Encoder, has_images: bool, captions: str = ""
    ) -> Rewards:
        return VerdictReward(self.checkpoint, model, self.reader, policy_encoder, has_images)


def form_in(folder: Path) -> VerdictForm:
    """How the model in a folder is asked for verdicts."""
    return VerdictForm(**read_metadata(folder)["verdict"])


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


def require_reward_models(
    config: EnsembleConfig, checkpoints: Sequence[str], flag: str = "", num_answers: int = 2
) -> None:
    """Before any of them is loaded, and all else that takes long.

    Args:
        flag, num_answers: what says how many answers to a prompt are scored, and how many.

    Raises:
        DataError: a folder holds no reward model, or one that would have nothing to compare an answer with; or the
            members of an ensemble can't be compared.
    """
    for path in checkpoints:
        if kind_of(path).compares(resolve_checkpoint(path)) and num_answers < 2:
            raise DataError(
                f"{path}: says which of two answers is better; expected {flag} 2 or more, not {num_answers}, or a "
                "reward model that scores an answer by itself"
            )
    if config.reward_ensemble:
        scales_of(checkpoints, config.aspect_weights)


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
