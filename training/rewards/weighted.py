"""What a response is worth: a weighted sum of reward models, functions and endpoints. `--rewards` names them all.

--reward_model_ckpt_path FOLDER    a trained reward model (training/rewards/kinds.py); several may count as one
--reward_functions NAME            one that ships (training/rewards/table.py), or MODULE:NAME, a function(record,
                                   responses) -> a number for each response, or a pair: the number, and why
--reward_endpoints URL             takes {"prompts": [{"id", "system", "turns", "images", "label", "responses"}]}; an
                                   image is a path, or a data: address where it has no file. It gives
                                   {"scores": [[a number for each response, or a pair] for each prompt]}
--reward_endpoints chat+URL        a chat model behind an OpenAI-style server, as a judge (judge.py)
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from training.rewards.functions import Given, RewardFunction, reward_functions
from training.rewards.judge import judge
from training.rewards.models import captions_for, load_reward_models, on_device, together
from training.rewards.reward import Explained, Reward, Rewards, WeightedRewards, each
from training.utils.config.model_config import ModelConfig
from training.utils.config.rewards_config import RewardsConfig
from training.utils.data.encode import Encoder
from training.utils.data.images import address_of
from training.utils.data.record import DataError, Record
from training.utils.data.tree import Batch, Tree
from training.utils.http import Endpoint
from training.utils.loop.prepare import build_encoder
from training.utils.process import dist

KEY_NAME = "REWARD_API_KEY"


def load_rewards(
    config: RewardsConfig | ModelConfig,
    policy_encoder: Encoder,
    has_images: bool,
    place: Callable[[nn.Module], nn.Module] = on_device,
) -> WeightedRewards:
    """All rewards that the flags name, of frozen models.

    Args:
        place: brings a model to where it works.
    """
    encoders = {path: build_encoder(config.for_another_model, path) for path in config.reward_model_ckpt_path}
    captions = {path: captions_for(path, config.captions) for path in encoders}
    of_models, models = load_reward_models(config, encoders, captions, policy_encoder, has_images, place)
    return weighted(config, of_models, models, policy_encoder)


def weighted(
    config: RewardsConfig, of_models: dict[str, Rewards], models: Sequence[nn.Module], encoder: Encoder
) -> WeightedRewards:
    """All rewards that the flags name.

    Args:
        of_models: the rewards of reward models, by their checkpoints.
        models: they themselves.
        encoder: of the policy.
    """
    rewards = [*together(config, of_models), each(text_rewards(config, encoder))]
    return WeightedRewards(rewards, config.weight_of_score, tuple(models))


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

    def ask(asked: list[tuple[Record, list[str]]]) -> list[list[Given]]:
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
    name: str, encoder: Encoder, ask: Callable[[list[tuple[Record, list[str]]]], list[list[Given]]]
) -> Reward:
    def reward(trees: Sequence[Tree], batch: Batch) -> Tensor | Explained:
        asked = [(tree.record, [encoder.decode(r.ids) for r in tree.responses]) for tree in trees]
        answer = ask(asked)
        try:
            pairs = [
                score_and_why(given)
                for (_, responses), of_prompt in zip(asked, answer, strict=True)
                for _, given in zip(responses, of_prompt, strict=True)
            ]
        except (TypeError, ValueError):
            found = str(answer)[:200]
            raise DataError(
                f"reward {name}: found {found}; expected a finite number for each response"
            ) from None
        scores = torch.tensor([score for score, _ in pairs], device=dist.device())
        said = [why for _, why in pairs]
        return Explained(scores, said) if any(said) else scores

    return reward


def score_and_why(given: Given) -> tuple[float, str]:
    """
    Raises:
        ValueError, TypeError: it is no finite number, nor a pair of one and a text.
    """
    score, why = given if isinstance(given, list | tuple) else (given, "")
    if not math.isfinite(float(score)) or not isinstance(why, str):
        raise ValueError
    return float(score), why


def text_rewards(config: RewardsConfig, encoder: Encoder) -> dict[str, Reward]:
    """The rewards that read words, by their names."""
    functions = reward_functions(config)
    rewards = {name: function_reward(name, function, encoder) for name, function in functions.items()}
    for url in config.reward_endpoints:
        if url in config.judges:
            rewards[url] = _of_texts(url, encoder, judge(url, KEY_NAME, config))
        else:
            rewards[url] = endpoint_reward(url, encoder, config.reward_timeout_s, config.reward_retries)
    return rewards
