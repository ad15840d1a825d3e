"""Time of trees against separate rows, alternating in one process.

    python -m scripts.bench_trees

A LLaVA with random weights: hidden size 256, 4 layers, vocabulary 32,064, 576 image tokens, 40 prompt and 120
response tokens, batch 2. "Separate" is what most systems do: a row for each response, full logits, and the images
encoded in each forward pass.
"""

import statistics
import time

import torch

import training  # noqa: F401  (repairs torchvision)
from training.utils.data.tree import Tree, collate
from training.utils.losses import dpo_loss, ordered_pairs, plackett_luce_loss, segment_sum
from training.utils.model.generate import Sampling, generate
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.model.value_head import ValueModel

from transformers import (  # isort: skip
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

VOCABULARY, IMAGE_LEN, PROMPT_LEN, RESPONSE_LEN, BATCH = 32_064, 576, 40, 120, 2
IMAGE_ID = 32_000
ROUNDS = 3


def build() -> LlavaForConditionalGeneration:
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=256,
        intermediate_size=1024,
        num_hidden_layers=6,
        num_attention_heads=4,
        image_size=336,
        patch_size=14,
    )
    text = LlamaConfig(
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=4,
        vocab_size=VOCABULARY,
    )
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=IMAGE_ID)
    return LlavaForConditionalGeneration(config)


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
                responses,
                [True] * num_responses,
                {"pixel_values": pixels},
            )
        )
    return made


def separate_rows(made: list[Tree]) -> tuple[torch.Tensor, torch.Tensor]:
    """Input ids [B * K, T] and pixel values of a row for each response."""
    ids = [tree.prompt_ids + response for tree in made for response in tree.responses]
    pixels = [tree.vision["pixel_values"] for tree in made for _ in tree.responses]
    return torch.tensor(ids), torch.cat(pixels)


def full_logps(model, ids: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Log-probability of each response, [B * K], through the logits of whole rows."""
    logits = model(input_ids=ids, pixel_values=pixels, use_cache=False).logits[:, :-1].float()
    logps = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    return logps[:, -RESPONSE_LEN:].sum(-1)


def dpo_steps():
    family = Llava()
    policy, reference = build(), build()
    made = trees(2)
    batch = collate([[tree] for tree in made], 0, family.stack_vision)
    ids, pixels = separate_rows(made)
    plain_policy, plain_reference = build(), build()
    plain_policy.model.vision_tower.requires_grad_(False)
    family.freeze(policy, vision=False, language=True)
    family.freeze(reference, vision=False, language=False)
    tree_policy, tree_reference = Policy(policy, family), Policy(reference, family).requires_grad_(False)
    share_towers(tree_policy, tree_reference)
    optimizers = [
        torch.optim.AdamW(p for p in m.parameters() if p.requires_grad) for m in (tree_policy, plain_policy)
    ]

    def with_trees():
        policy.model.vision_tower.memory.clear()  # a new step brings new pictures
        logps = segment_sum(tree_policy(batch), batch.response, batch.num_responses)
        with torch.no_grad():
            ref = segment_sum(tree_reference(batch), batch.response, batch.num_responses)
        better, worse = ordered_pairs(batch.prompt_of_response)
        move(dpo_loss(logps[better], logps[worse], ref[better], ref[worse], 0.1)[0].mean(), optimizers[0])

    def with_rows():
        logps = full_logps(plain_policy, ids, pixels)
        with torch.no_grad():
            ref = full_logps(plain_reference, ids, pixels)
        move(dpo_loss(logps[::2], logps[1::2], ref[::2], ref[1::2], 0.1)[0].mean(), optimizers[1])

    return with_trees, with_rows


def reward_steps():
    family = Llava()
    model, plain = build(), build()
    made = trees(4)
    batch = collate([[tree] for tree in made], 0, family.stack_vision)
    ids, pixels = separate_rows(made)
    plain.model.vision_tower.requires_grad_(False)
    family.freeze(model, vision=False, language=True)
    tree_model = ValueModel(model, family)
    head = torch.nn.Linear(256, 1, bias=False)
    prompts = torch.arange(BATCH).repeat_interleave(4)
    optimizers = [
        torch.optim.AdamW(p for p in m.parameters() if p.requires_grad) for m in (tree_model, plain)
    ]

    def with_trees():
        model.model.vision_tower.memory.clear()
        move(plackett_luce_loss(tree_model(batch, batch.last_token), prompts, BATCH).mean(), optimizers[0])

    def with_rows():
        out = plain(input_ids=ids, pixel_values=pixels, output_hidden_states=True, use_cache=False)
        move(
            plackett_luce_loss(head(out.hidden_states[-1][:, -1])[:, 0], prompts, BATCH).mean(), optimizers[1]
        )

    return with_trees, with_rows


def generations():
    family = Llava()
    model = build()
    family.freeze(model, vision=False, language=False)
    policy = Policy(model, family)
    prompts = [tree for _ in range(4) for tree in trees(1)]
    sampling = Sampling(max_new_tokens=32, forbidden_ids=(IMAGE_ID,))

    def together():
        model.model.vision_tower.memory.clear()
        generate(policy, prompts, sampling, num_samples=8)

    def one_at_a_time():
        for prompt in prompts:
            for _ in range(8):
                model.model.vision_tower.memory.clear()
                generate(policy, [prompt], sampling)

    return together, one_at_a_time


def move(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def seconds(function) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


CASES = {
    "DPO step, 2 responses": (dpo_steps, ROUNDS),
    "reward-model step, 4 candidates": (reward_steps, ROUNDS),
    "8 samples for each of 8 prompts": (generations, 1),
}


def main() -> None:
    for name, (make, rounds) in CASES.items():
        ours, theirs = make()
        seconds(ours), seconds(theirs)  # warm-up
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
        ratio = statistics.median(their / our for our, their in pairs)
        our, their = (statistics.median(column) for column in zip(*pairs, strict=True))
        print(f"{name}: {our:.2f} s against {their:.2f} s, {ratio:.1f}x faster", flush=True)


if __name__ == "__main__":
    main()
