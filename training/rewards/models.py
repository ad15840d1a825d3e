"""Reward models as rewards: each may be of another family, tokenizer or template than the policy."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from training.rewards.ensemble import Ensemble, scales_of
from training.rewards.reward import Reward, Rewards, each
from training.utils.config.ensemble_config import EnsembleConfig
from training.utils.config.model_config import ModelConfig
from training.utils.data.captions import captioned
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.data.tree import Batch, Response, Tree
from training.utils.files.model_folder import read_metadata, resolve_checkpoint
from training.utils.model.build_model import build_value_model
from training.utils.model.same_reading import reads_the_same
from training.utils.model.value_head import ValueModel
from training.utils.process import dist


def together(config: EnsembleConfig, rewards: dict[str, Reward]) -> Rewards:
    """Reward models, each for itself or with `--reward_ensemble` as one.

    Args:
        rewards: by the checkpoint of each.
    """
    if not config.reward_ensemble:
        return each(rewards)
    return Ensemble(rewards, scales_of([*rewards]), config.reward_ensemble, config.ensemble_deviations)


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
        model = build_value_model(config, path, encoder.family, trainable=False, needs_head=True)
        models.append(model.to(dist.device()))
        rewards[path] = model_reward(model, encoder, policy_encoder, has_images, captions[path])
    return rewards, tuple(models)


def model_reward(
    reward_model: nn.Module, encoder: Encoder, policy_encoder: Encoder, has_images: bool, captions: str = ""
) -> Reward:
    """A reward model. It reads the policy's own tokens, or where its own would be others, the words again.

    Args:
        encoder: of the reward model.
        captions: files of captions that it reads too; empty: none.
    """
    if captions or not reads_the_same(encoder, policy_encoder):
        return rendered_reward(reward_model, encoder, policy_encoder, has_images, captions)
    return lambda trees, batch: reward_model(batch, batch.last_token)


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


def rendered_reward(
    reward_model: nn.Module, encoder: Encoder, policy_encoder: Encoder, has_images: bool, captions: str = ""
) -> Reward:
    """A reward model with a tokenizer, template or image processor of its own, or that reads captions too."""
    collate = Collator(encoder, has_images)

    def rendered(tree: Tree) -> Tree:
        texts = tuple(policy_encoder.decode(response.ids) for response in tree.responses)
        record = tree.record
        turns = captioned(record.turns, record.id, record.images, captions)
        again = encoder.encode(replace(record, turns=turns, responses=texts, scores=None))
        pairs = zip(again.responses, tree.responses, strict=True)
        return replace(again, responses=[_cut_like(response, original) for response, original in pairs])

    def reward(trees: Sequence[Tree], batch: Batch) -> Tensor:
        own = collate([rendered(tree) for tree in trees]).to(dist.device())
        return reward_model(own, own.last_token)

    return reward


def _cut_like(response: Response, original: Response) -> Response:
    """Without its end of turn, where the original was cut before it came to one."""
    if original.ended or len(response.ids) == 1:
        return response
    return replace(response, ids=response.ids[:-1], ended=False)
