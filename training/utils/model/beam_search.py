"""Beam search: the likeliest responses of all that begin with the likeliest tokens, rather than the likeliest next
token alone. Object HalBench and MMHal-Bench are reported with 3 beams.

Every beam has a row of its own. A response's score is the mean log-probability of its tokens, its end included, as in
transformers with `length_penalty=1`; a prompt is done when no beam can beat the responses that it has.

Notation: P prompts that are not done, B beams, R = P * B rows, S keys so far, V vocabulary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..data.tree import Tree
from .generate import Sampling, prefill
from .policy import Policy

IMPOSSIBLE = -1e9  # log-probability of a beam that does not exist


@dataclass
class Finished:
    """The best finished responses of a prompt, the best first."""

    num_beams: int
    responses: list[tuple[float, list[int]]] = field(default_factory=list)

    def add(self, score: float, ids: list[int]) -> None:
        self.responses.append((score, ids))
        self.responses = sorted(self.responses, key=lambda response: -response[0])[: self.num_beams]

    def beats(self, score: float) -> bool:
        """Whether a response of that score would not be kept."""
        return len(self.responses) == self.num_beams and score <= self.responses[-1][0]


@torch.no_grad()
def beam_search(
    policy: Policy, prompts: Sequence[Tree], sampling: Sampling, num_beams: int, pad_id: int = 0
) -> list[list[list[int]]]:
    """Token ids of the best response to each prompt, as the one sample of it, end of turn included.

    Args:
        sampling: its length, stop and forbidden tokens; nothing is sampled.
    """
    model, family = policy.model, policy.family
    batch, inputs, cache, logits = prefill(policy, prompts, pad_id)
    device, stops = logits.device, torch.tensor(sampling.stop_ids, device=logits.device)
    num_candidates = num_beams * max(2, 1 + len(stops))  # enough to go on if all stop tokens are among them
    cache.batch_repeat_interleave(num_beams)
    position = inputs["position_ids"][..., -1:].repeat_interleave(num_beams, -2)  # [..., R, 1]
    mask = (batch.tree >= 0).repeat_interleave(num_beams, 0)  # [R, S]
    carried = {name: t.repeat_interleave(num_beams, 0) for name, t in family.carried(inputs).items()}
    logits = logits.repeat_interleave(num_beams, 0)  # [R, V]

    finished = [Finished(num_beams) for _ in prompts]
    prompt = torch.arange(len(prompts))  # [P] which prompt each is
    scores = torch.full((len(prompts), num_beams), IMPOSSIBLE, device=device)  # [P, B] nats
    scores[:, 0] = 0  # at first all beams are the same
    written = torch.zeros(len(prompts), num_beams, 0, dtype=torch.long, device=device)  # [P, B, tokens]
    for length in range(1, sampling.max_new_tokens + 1):
        logps = sampling.allowed(logits.float().log_softmax(-1)).view(len(prompt), num_beams, -1)
        totals = (scores[:, :, None] + logps).flatten(1)  # [P, B * V]
        best, place = totals.topk(min(num_candidates, totals.shape[1]))  # [P, candidates]
        beam, token = place // logps.shape[-1], place % logps.shape[-1]
        grown = torch.cat([_rows(written, beam), token[:, :, None]], dim=2)
        stopped = torch.isin(token, stops) | (length == sampling.max_new_tokens)
        for row, column in stopped[:, :num_beams].nonzero().tolist():
            finished[prompt[row]].add(best[row, column].item() / length, grown[row, column].tolist())

        scores, kept = best.masked_fill(stopped, IMPOSSIBLE).topk(num_beams)
        beam, written = beam.gather(1, kept), _rows(grown, kept)
        going = [
            row
            for row, score in enumerate((scores[:, 0] / length).tolist())
            if score > IMPOSSIBLE / length and not finished[prompt[row]].beats(score)
        ]
        if not going or length == sampling.max_new_tokens:
            break
        rows = (torch.arange(len(prompt), device=device)[:, None] * num_beams + beam)[going].flatten()
        prompt, scores, written = prompt[going], scores[going], written[going]
        if rows.tolist() != list(range(len(mask))):
            cache.batch_select_indices(rows)
            mask, position = mask[rows], position.index_select(-2, rows)
            carried = {name: tensor[rows] for name, tensor in carried.items()}
        position = position + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
        following = {
            "input_ids": written[:, :, -1].reshape(-1, 1),
            "position_ids": position,
            "attention_mask": mask,
            **carried,
        }
        logits = model.lm_head(family.cached_hidden_states(model, following, cache)[:, -1])
    return [[done.responses[0][1]] for done in finished]


def _rows(tensor: Tensor, places: Tensor) -> Tensor:
    """Beams of each prompt: [P, B, T] at [P, K] gives [P, K, T]."""
    return tensor.gather(1, places[:, :, None].expand(-1, -1, tensor.shape[2]))
