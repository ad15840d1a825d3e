"""How a reward model reads what a policy wrote: the policy's own tokens, or the words again as its own."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, nn

from training.rewards.reward import Reward
from training.utils.data.captions import captioned
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.tree import Batch, Response, Tree
from training.utils.model.same_reading import reads_the_same
from training.utils.process import dist


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


def rendered_reward(
    reward_model: nn.Module, encoder: Encoder, policy_encoder: Encoder, has_images: bool, captions: str = ""
) -> Reward:
    """A reward model with a tokenizer, template or image processor of its own, or that reads captions too."""

    def rendered(tree: Tree) -> Tree:
        texts = tuple(policy_encoder.decode(response.ids) for response in tree.responses)
        record = tree.record
        turns = captioned(record.turns, record.own_id, record.images, captions)
        again = encoder.encode(replace(record, turns=turns, responses=texts, scores=None))
        pairs = zip(again.responses, tree.responses, strict=True)
        return replace(again, responses=[_cut_like(response, original) for response, original in pairs])

    collate = Collator(encoder, has_images)

    def reward(trees: Sequence[Tree], batch: Batch) -> Tensor:
        own = collate([rendered(tree) for tree in trees]).to(dist.device())
        return reward_model(own, own.last_token)

    return reward


def _cut_like(response: Response, original: Response) -> Response:
    """Without its end of turn, where the original was cut before it came to one."""
    if original.ended or len(response.ids) == 1:
        return response
    return replace(response, ids=response.ids[:-1], ended=False)
