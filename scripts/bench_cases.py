"""What `bench_trees.py` compares: steps of trees, and the same steps the way most systems take them.

A LLaVA with random weights: hidden size 256, 4 layers, vocabulary 32,064, 576 image tokens, 40 prompt and 120
response tokens, batch 2. "Rows" are a row for each response, full logits, and the images encoded in each forward.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers import LlavaConfig, LlavaForConditionalGeneration

from scripts.bench_model import Size
from training.utils.data.tree import Batch, Response, Tree, collate
from training.utils.losses.preferences import dpo_loss
from training.utils.losses.responses import ordered_pairs, plackett_luce_loss, segment_sum
from training.utils.model.flex_attention import flex_attention_serves
from training.utils.model.generate import Sampling, generate
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.model.tree_attention import use_tree_attention
from training.utils.model.value_head import ValueModel
from training.utils.process import dist

VOCABULARY, IMAGE_LEN, PROMPT_LEN, RESPONSE_LEN, BATCH = 32_064, 576, 40, 120, 2
IMAGE_ID = 32_000
DTYPE = torch.bfloat16 if torch.cuda.is_available() else torch.float32


def build() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    size = Size(vocab_size=VOCABULARY)
    config = LlavaConfig(vision_config=size.vision, text_config=size.text(), image_token_index=IMAGE_ID)
    return LlavaForConditionalGeneration(config).to(dist.device(), DTYPE)


def build_ours(language: bool) -> LlavaForConditionalGeneration:
    """The same as this project trains it, with a frozen tower."""
    model = build()
    part = model.model.language_model
    use_tree_attention(part, by_blocks=flex_attention_serves(part.config, DTYPE, drops_out=False))
    Llava().freeze(model, vision=False, language=language)
    return model


def trees(num_responses: int) -> list[Tree]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for number in range(BATCH):
        prompt = [IMAGE_ID] * IMAGE_LEN + torch.randint(
            10, 30_000, (PROMPT_LEN,), generator=generator
        ).tolist()
        responses = torch.randint(10, 30_000, (num_responses, RESPONSE_LEN), generator=generator).tolist()
        pixels = torch.randn(1, 3, 336, 336, generator=generator)
        made.append(
            Tree(
                str(number),
                prompt,
                [False] * len(prompt),
                [Response(ids) for ids in responses],
                {"pixel_values": pixels},
            )
        )
    return made


def separate_rows(made: list[Tree]) -> tuple[torch.Tensor, torch.Tensor]:
    """Input ids [B * K, T] and pixel values of a row for each response."""
    ids = [tree.prompt_ids + response.ids for tree in made for response in tree.responses]
    pixels = [tree.vision["pixel_values"] for tree in made for _ in tree.responses]
    return torch.tensor(ids, device=dist.device()), torch.cat(pixels).to(dist.device(), DTYPE)


def full_logps(model, ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each response, [B * K], through the logits of whole rows."""
    logits = model(input_ids=ids, pixel_values=pixels, use_cache=False).logits[:, :-1].float()
    logps = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return logps[:, -RESPONSE_LEN:].sum(-1)


def tree_batch(made: list[Tree]) -> Batch:
    return collate([[tree] for tree in made], 0, Llava().stack_vision).to(dist.device())


def trained(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), fused=True)


def dpo_step_of_trees() -> Callable[[], None]:
    family, batch = Llava(), tree_batch(trees(2))
    policy = Policy(build_ours(language=True), family)
    reference = Policy(build_ours(language=False), family).requires_grad_(False)
    share_towers(policy, reference)
    optimizer = trained(policy)

    def step() -> None:
        policy.model.model.vision_tower.memory.clear()  # a new step brings new pictures
        logps = segment_sum(policy(batch), batch.response, batch.num_responses)
        with torch.no_grad():
            ref = segment_sum(reference(batch), batch.response, batch.num_responses)
        better, worse = ordered_pairs(batch.prompt_of_response)
        log_ratios = logps - ref
        move(dpo_loss(0.1 * (log_ratios[better] - log_ratios[worse])).mean(), optimizer)

    return step


def dpo_step_of_rows() -> Callable[[], None]:
    ids, pixels = separate_rows(trees(2))
    policy, reference = build(), build()
    policy.model.vision_tower.requires_grad_(False)
    optimizer = trained(policy)

    def step() -> None:
        logps = full_logps(policy, ids, pixels)
        with torch.no_grad():
            ref = full_logps(reference, ids, pixels)
        log_ratios = logps - ref
        move(dpo_loss(0.1 * (log_ratios[::2] - log_ratios[1::2])).mean(), optimizer)

    return step


def reward_step_of_trees() -> Callable[[], None]:
    family, batch = Llava(), tree_batch(trees(4))
    model = build_ours(language=True)
    model.lm_head.requires_grad_(False)
    reward_model = ValueModel(model, family).to(dist.device())
    optimizer = trained(reward_model)

    def step() -> None:
        model.model.vision_tower.memory.clear()
        scores = reward_model(batch, batch.last_token)
        move(plackett_luce_loss(scores, batch.prompt_of_response, BATCH).mean(), optimizer)

    return step


def reward_step_of_rows() -> Callable[[], None]:
    ids, pixels = separate_rows(trees(4))
    model, head = build(), nn.Linear(256, 1, bias=False, device=dist.device())
    model.model.vision_tower.requires_grad_(False)
    model.lm_head.requires_grad_(False)
    prompts = torch.arange(BATCH, device=dist.device()).repeat_interleave(4)
    optimizer = trained(model)

    def step() -> None:
        out = model(input_ids=ids, pixel_values=pixels, output_hidden_states=True, use_cache=False)
        scores = head(out.hidden_states[-1][:, -1].float())[:, 0]
        move(plackett_luce_loss(scores, prompts, BATCH).mean(), optimizer)

    return step


def generation(at_a_time: int, num_samples: int) -> Callable[[], None]:
    """8 samples for each of 8 prompts, some prompts and some samples in a batch."""
    model = build_ours(language=False)
    policy = Policy(model, Llava())
    prompts = [tree for _ in range(4) for tree in trees(1)]
    sampling = Sampling(max_new_tokens=32, forbidden_ids=(IMAGE_ID,))

    def step() -> None:
        for _ in range(8 // num_samples):
            for first in range(0, len(prompts), at_a_time):
                model.model.vision_tower.memory.clear()
                generate(policy, prompts[first : first + at_a_time], sampling, num_samples)

    return step


def move(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


# What is compared: with trees, the other way, rounds.
CASES = {
    "DPO step, 2 responses": (dpo_step_of_trees, dpo_step_of_rows, 9),
    "reward-model step, 4 candidates": (reward_step_of_trees, reward_step_of_rows, 9),
    "8 samples for each of 8 prompts": (lambda: generation(8, 8), lambda: generation(1, 1), 2),
}
