"""What a response is worth: a weighted sum of reward models, functions and endpoints. `--rewards` names them all.

--reward_model_ckpt_path FOLDER    a trained reward model, also of another family, tokenizer or template
--reward_functions NAME            one that ships (training/rewards/table.py), or MODULE:NAME, a function(record,
                                   responses) -> a number for each response
--reward_endpoints URL             takes {"prompts": [{"id", "system", "turns", "images", "label", "responses"}]}; an
                                   image is a path, or a data: address where it has no file. It gives
                                   {"scores": [[a number for each response] for each prompt]}
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from training.rewards.functions import RewardFunction, reward_functions
from training.utils.config.model_config import ModelConfig
from training.utils.config.rewards_config import RewardsConfig
from training.utils.data.captions import captioned
from training.utils.data.encode import Encoder
from training.utils.data.images import address_of
from training.utils.data.loader import Collator
from training.utils.data.record import DataError, Record
from training.utils.data.tree import Batch, Response, Tree
from training.utils.files.model_folder import read_metadata, resolve_checkpoint
from training.utils.http import Endpoint
from training.utils.loop.prepare import build_encoder
from training.utils.model.build_model import build_value_model
from training.utils.model.same_reading import reads_the_same
from training.utils.model.value_head import ValueModel
from training.utils.process import dist

KEY_NAME = "REWARD_API_KEY"

# Scores of all responses of a micro-batch, given as trees and as the same batch, [R].
Reward = Callable[[Sequence[Tree], Batch], Tensor]


@dataclass(frozen=True)
class WeightedRewards:
    """The sum of some rewards. The scores of each are kept, so that they can be shown."""

    rewards: dict[str, Reward]
    weights: list[float]
    models: tuple[nn.Module, ...] = ()  # those of them that are models

    def __call__(self, trees: Sequence[Tree], batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum, and the parts by name, [R] each."""
        parts = {name: reward(trees, batch).float() for name, reward in self.rewards.items()}
        return sum(w * part for w, part in zip(self.weights, parts.values(), strict=True)), parts


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


def load_reward(
    config: ModelConfig, checkpoint: str, policy_encoder: Encoder, has_images: bool, captions: str = ""
) -> tuple[ValueModel, Reward]:
    """The reward model of a checkpoint on this process's device, and its reward."""
    captions = captions_for(checkpoint, captions)
    encoder = build_encoder(config.for_another_model, checkpoint)
    model = build_value_model(config, checkpoint, encoder.family, trainable=False, needs_head=True)
    model = model.to(dist.device())
    return model, model_reward(model, encoder, policy_encoder, has_images, captions)


def load_rewards(
    config: RewardsConfig | ModelConfig, policy_encoder: Encoder, has_images: bool
) -> WeightedRewards:
    """All rewards that the flags name, of frozen models on this process's device."""
    models, rewards = [], {}
    for path in config.reward_model_ckpt_path:
        model, rewards[path] = load_reward(config, path, policy_encoder, has_images, config.captions)
        models.append(model)
    rewards |= text_rewards(config, policy_encoder)
    return WeightedRewards(rewards, config.weights, tuple(models))


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


def function_reward(name: str, function: RewardFunction, encoder: Encoder) -> Reward:
    """A function of a record and its responses.

    Raises:
        DataError: (from the reward) it does not give a number for each response.
    """
    return _of_texts(
        name, encoder, lambda asked: [function(record, responses) for record, responses in asked]
    )


def endpoint_reward(url: str, encoder: Encoder, timeout_s: float, retries: int) -> Reward:
    """A server that scores texts.

    Raises:
        DataError: from the reward, if it gives no answer, or not a number for each response.
    """
    endpoint = Endpoint("--reward_endpoints", url, KEY_NAME, timeout_s, retries)

    def ask(asked: list[tuple[Record, list[str]]]) -> list[list[float]]:
        prompts = [
            {
                "id": record.id,
                "system": record.system,
                "turns": [{"role": turn.role, "text": turn.text} for turn in record.turns],
                "images": [address_of(image) for image in record.images],
                "label": record.label,
                "responses": responses,
            }
            for record, responses in asked
        ]
        answer = endpoint.ask({"prompts": prompts})
        return answer.get("scores") if isinstance(answer, dict) else None

    return _of_texts(url, encoder, ask)


def _of_texts(
    name: str, encoder: Encoder, ask: Callable[[list[tuple[Record, list[str]]]], list[list[float]]]
) -> Reward:
    def reward(trees: Sequence[Tree], batch: Batch) -> Tensor:
        asked = [(tree.record, [encoder.decode(r.ids) for r in tree.responses]) for tree in trees]
        answer = ask(asked)
        try:
            for (_, responses), scores in zip(asked, answer, strict=True):
                if len(scores) != len(responses) or not all(math.isfinite(float(score)) for score in scores):
                    raise ValueError
            return torch.tensor([float(s) for scores in answer for s in scores], device=dist.device())
        except (TypeError, ValueError):
            found = str(answer)[:200]
            raise DataError(
                f"reward {name}: found {found}; expected a finite number for each response"
            ) from None

    return reward


def text_rewards(config: RewardsConfig, encoder: Encoder) -> dict[str, Reward]:
    """The rewards that read words, by their names."""
    functions = reward_functions(config)
    rewards = {name: function_reward(name, function, encoder) for name, function in functions.items()}
    return rewards | {
        url: endpoint_reward(url, encoder, config.reward_timeout_s, config.reward_retries)
        for url in config.reward_endpoints
    }
