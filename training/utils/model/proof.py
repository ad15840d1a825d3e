"""Whether a model that nobody has tested computes here what it computes in transformers.

A few prompts go both ways. Here: through the encoder and the family, in one batch. There: through the model's own
processor and its own forward pass, one at a time. Then an answer's last token is changed, which must move nothing
before it; and what is generated token by token must be what the forward pass finds likeliest. It takes seconds.

Notation: B rows, T tokens of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor
from transformers import PreTrainedModel

from ..data.images import ImageError, open_image
from ..data.record import MARKER, DataError, Record, Turn
from ..data.tree import Batch, Tree, collate
from ..engine.zero import gathered
from ..process import dist
from .generate import Sampling, generate
from .logps import token_logps
from .policy import Policy

if TYPE_CHECKING:
    from ..data.encode import Encoder

LOOKED_AT = 64  # records from whose beginnings prompts are chosen
ANSWER = "It is a picture of a star."
NEW_TOKENS = 4
# Nats. In half precision the same sums in another order differ by about a hundredth, on single tokens by more.
MAX_LOSS_DIFFERENCE = {torch.float32: 1e-4, torch.bfloat16: 2e-2, torch.float16: 2e-2}
MAX_MOVED = {torch.float32: 1e-3, torch.bfloat16: 5e-2, torch.float16: 5e-2}  # the order is the same here
MAX_BEHIND = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.1}


@torch.no_grad()
def prove(model: PreTrainedModel, encoder: Encoder, records: Sequence[Record]) -> None:
    """Tries a model, with its weights as they were loaded.

    Args:
        records: some of those that it is wanted for.

    Raises:
        DataError: something differs; it says what, where and by how much.
    """
    policy = Policy(model, encoder.family)
    with gathered(model):
        if not any(hasattr(p, "ds_id") or p.device.type != "cpu" for p in model.parameters()):
            model.to(dist.device())
        try:
            encoder.family.tower(model), encoder.family.projector(model), encoder.family.language_model(model)
            prompts = [Prompt(record, encoder) for record in chosen(records, encoder)]
            require_causal(policy, encoder, prompts)
            require_same_loss(policy, encoder, prompts)
            require_same_answers(policy, encoder, prompts)
        except DataError as error:
            raise DataError(f"{_refusal(model)}: {error}") from None
        except Exception as error:  # whatever an unknown model or processor raises
            raise DataError(f"{_refusal(model)}: {type(error).__name__}: {error}") from error
    if dist.is_main():
        name = model.config.model_type
        print(
            f"{name}: no family of the table; {len(prompts)} prompts gave transformers' own loss", flush=True
        )


def _refusal(model: PreTrainedModel) -> str:
    return (
        f"{model.name_or_path}: models of type {model.config.model_type} are in no family of the README's table, and "
        "this one could not prove that it computes here what it computes in transformers; choose a model of the "
        "table, or add a family. What was found"
    )


def chosen(records: Sequence[Record], encoder: Encoder) -> list[Record]:
    """The beginnings of a handful of records, with many pictures, few and none; at least one with pictures."""
    by_images: dict[int, list[Record]] = {}
    for record in islice(records, LOOKED_AT):
        text = record.turns[0].text
        number = text.count(MARKER)
        # What looks like a special token is a word here, and none to a processor.
        if not encoder.vocabulary.special_looking(text.replace(MARKER, "")):
            beginning = replace(record, turns=record.turns[:1], images=record.images[:number])
            by_images.setdefault(number, []).append(beginning)
    most = sorted(filter(None, by_images), reverse=True)[:2]
    with_images = [record for number in most for record in islice(filter(_opens, by_images[number]), 2)]
    return [*(with_images or [made_up()]), *by_images.get(0, [])[:1]]


def _opens(record: Record) -> bool:
    """Whether its pictures can be read. What becomes of a record without is settled where it is wanted."""
    try:
        return bool([open_image(image) for image in record.images])
    except ImageError:
        return False


def made_up() -> Record:
    """A prompt with two pictures of different sizes."""
    pictures = []
    for number, size in enumerate([(96, 64), (48, 120)]):
        generator = torch.Generator().manual_seed(number)
        noise = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
        pictures.append(Image.fromarray(noise.numpy()))
    text = f"{MARKER}\n{MARKER}\nWhich of these two pictures is brighter, and why?"
    return Record("made up", "a prompt of two pictures", tuple(pictures), (Turn("user", text),))


class Prompt:
    """A prompt as this project and as the model's own processor make it."""

    def __init__(self, record: Record, encoder: Encoder) -> None:
        self.name = f"{record.source} id={record.id}"
        images = [open_image(image) for image in record.images]
        vision, expansions = encoder.family.image_inputs(encoder.processor, images)
        ids, learned = encoder.prompt_ids(record.turns, expansions, record.system)
        self.tree = Tree(record.id, ids, learned, vision=vision)
        (segment,) = encoder.template.prompts(
            list(record.turns), encoder.family.image_text(encoder.processor), record.system
        )
        text = "".join(piece.text for piece in segment)
        bos = encoder.tokenizer.bos_token
        if bos and ids[0] == encoder.tokenizer.bos_token_id and not text.startswith(bos):
            text = bos + text
        made = encoder.processor(
            text=text,
            images=[images] if images else None,
            add_special_tokens=False,
            return_tensors="pt",
        )
        self.inputs = {name: value for name, value in made.items() if name != "labels"}


def require_causal(policy: Policy, encoder: Encoder, prompts: Sequence[Prompt]) -> None:
    """A token must not depend on those behind it: it is learned as if it did not."""
    *answer, last = encoder.response_ids(ANSWER)[:-1]
    other = answer[0] if answer[0] != last else answer[1]
    for prompt in prompts:
        found = []
        for end in (last, other):
            tree = prompt.tree.with_responses([[*answer, end]], encoder.stop_ids)
            batch = _batch([tree], policy, encoder)
            found.append(_logps(policy, batch)[0, :-1])
        difference = float((found[0] - found[1]).abs().max())
        if not difference <= MAX_MOVED[policy.model.dtype]:
            raise DataError(
                f"{prompt.name}: another last token of an answer moves log-probabilities before it by "
                f"{difference:.2g} nats, so tokens would be learned that see their own future"
            )


def require_same_loss(policy: Policy, encoder: Encoder, prompts: Sequence[Prompt]) -> None:
    """Token ids must be the processor's, and the loss of a prompt's text the one of transformers' forward pass."""
    batch = _batch([prompt.tree for prompt in prompts], policy, encoder)
    ours = _logps(policy, batch)
    for row, prompt in enumerate(prompts):
        theirs_ids = prompt.inputs["input_ids"][0].tolist()
        if theirs_ids != prompt.tree.prompt_ids:
            raise DataError(f"{prompt.name}: {_different_ids(prompt.tree.prompt_ids, theirs_ids, encoder)}")
        inputs = {
            name: value.to(policy.model.device) if isinstance(value, Tensor) else value
            for name, value in prompt.inputs.items()
        }
        logits = policy.model(**inputs).logits[0, :-1].float()  # [T - 1, vocabulary]
        labels = inputs["input_ids"][0, 1:]
        is_text = (labels != encoder.image_id) & (labels < logits.shape[-1])
        theirs = logits[is_text].log_softmax(-1).gather(-1, labels[is_text, None])[:, 0]
        loss, expected = -float(ours[row, : len(labels)][is_text].mean()), -float(theirs.mean())
        difference, allowed = abs(loss - expected), MAX_LOSS_DIFFERENCE[policy.model.dtype]
        if not difference <= allowed:
            raise DataError(
                f"{prompt.name}: the loss of the prompt's text is {loss:.4f} nats a token here and {expected:.4f} by "
                f"transformers' forward pass on its processor's inputs; {difference:.2g} apart, where at most "
                f"{allowed:g} is allowed"
            )


def require_same_answers(policy: Policy, encoder: Encoder, prompts: Sequence[Prompt]) -> None:
    """What is written token by token must be what the whole row's forward pass finds likeliest."""
    sampling = Sampling(NEW_TOKENS, temperature=0, forbidden_ids=tuple(encoder.structural_ids))
    trees = [prompt.tree for prompt in prompts]
    answers = generate(policy, trees, sampling, pad_id=encoder.tokenizer.pad_token_id)
    trees = [tree.with_responses(ids, encoder.stop_ids) for tree, ids in zip(trees, answers, strict=True)]
    batch = _batch(trees, policy, encoder)
    hidden = encoder.family.hidden_states(policy.model, batch).flatten(0, 1)[batch.predictor]
    logps = sampling.allowed(policy.model.lm_head(hidden).float().log_softmax(-1))  # [N, vocabulary]
    behind = float((logps.amax(-1) - logps.gather(-1, batch.label_ids[:, None])[:, 0]).max())
    if not behind <= MAX_BEHIND[policy.model.dtype]:
        raise DataError(f"greedy answers hold tokens that are {behind:.2g} nats behind the likeliest ones")


def _batch(trees: list[Tree], policy: Policy, encoder: Encoder) -> Batch:
    pad_id = encoder.tokenizer.pad_token_id
    batch = collate([[tree] for tree in trees], pad_id, encoder.family.stack_vision)
    return batch.to(policy.model.device)


def _logps(policy: Policy, batch: Batch) -> Tensor:
    """Log-probability of each token but the first, [B, T - 1]; a token that has no logit counts as token 0."""
    lm_head, labels = policy.model.lm_head, batch.input_ids[:, 1:]
    hidden = policy.family.hidden_states(policy.model, batch)[:, :-1]  # [B, T - 1, D]
    labels = labels.masked_fill(labels >= lm_head.out_features, 0)
    return token_logps(hidden.flatten(0, 1), lm_head, labels.flatten()).view_as(labels)


def _different_ids(ours: list[int], theirs: list[int], encoder: Encoder) -> str:
    place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), None)
    if place is None:
        return f"the prompt has {len(ours)} tokens here and {len(theirs)} by its processor"
    name = encoder.tokenizer.convert_ids_to_tokens
    return f"token {place} of the prompt is {name(ours[place])!r} here and {name(theirs[place])!r} by its processor"
