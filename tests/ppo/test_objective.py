"""From rewards to the policy's loss, by the names of algorithms, against loops as their papers have them."""

import math
from statistics import fmean, pstdev, stdev

import pytest
import torch

from tests.ppo.test_experience import config, rollout
from training.ppo.experience import assign_credit
from training.ppo.objective import policy_losses
from training.utils.config.algorithms import ALGORITHMS
from training.utils.losses.policy import RunningMoments
from training.utils.losses.surrogates import token_weights, weighed_count

KL_COEF = 0.1
LIMIT = 6  # tokens of a response


def loss_of(name, experiences, moves, **more):
    """The loss of an algorithm over a whole rollout, the policy having moved by `moves` [N]."""
    sets = dict(ALGORITHMS[name].sets)
    kl_coef = 0.0 if name == "dapo" else KL_COEF
    ours = config(**sets | {"max_generation_length_of_sampling": LIMIT, "kl_coef": kl_coef} | more)
    assign_credit(experiences, RunningMoments(), kl_coef, ours)
    total = count = 0.0
    for experience, move in zip(experiences, moves, strict=True):
        batch = experience.batch
        losses, _ = policy_losses(experience.old_logps + move, experience, kl_coef, ours)
        weights = token_weights(batch.lengths, batch.response, ours.loss_aggregation, LIMIT)
        total += float((losses * weights).sum())
        count += weighed_count(len(losses), batch.num_responses, ours.loss_aggregation)
    return total / count


def responses(experiences, moves):
    """Each response as a list of (log pi, log pi_old, log ref, KL) of its tokens, with its score, prompt, and end."""
    found = []
    for number, (each, move) in enumerate(zip(experiences, moves, strict=True)):
        columns = [each.old_logps + move, each.old_logps, each.ref_logps, each.token_kl]
        tokens = list(zip(*(column.double().tolist() for column in columns), strict=True))
        first = 0
        for r, length in enumerate(each.batch.lengths.tolist()):
            prompt = (number, int(each.batch.prompt_of_response[r]))
            ended = bool(each.batch.ended[r])
            found.append((tokens[first : first + length], float(each.scores[r]), prompt, ended))
            first += length
    return found


def clipped(logp, old_logp, advantage, high=0.2):
    ratio = math.exp(logp - old_logp)
    return -min(ratio * advantage, min(max(ratio, 0.8), 1 + high) * advantage)


def whiten(values):
    mean, spread = fmean(values), pstdev(values)
    return [(value - mean) / spread for value in values]


def reinforce_plus_plus(given):
    """Arxiv 2501.03262: the score less the KL from a token on, normalised over all tokens; PPO's clip."""
    tokens, advantages = [], []
    for of_response, score, _, _ in given:
        for t, token in enumerate(of_response):
            tokens.append(token)
            advantages.append(score - KL_COEF * sum(kl for *_, kl in of_response[t:]))
    pairs = zip(tokens, whiten(advantages), strict=True)
    return fmean(clipped(token[0], token[1], advantage) for token, advantage in pairs)


def reinforce_plus_plus_baseline(given):
    """The score less the mean of its group, normalised over all tokens; the KL in the loss, (log r)^2 / 2."""
    tokens, advantages = [], []
    for of_response, score, prompt, _ in given:
        group = [other for _, other, its, _ in given if its == prompt]
        tokens += of_response
        advantages += [score - fmean(group)] * len(of_response)
    pairs = zip(tokens, whiten(advantages), strict=True)
    return fmean(
        clipped(logp, old, advantage) + KL_COEF * (logp - ref) ** 2 / 2
        for (logp, old, ref, _), advantage in pairs
    )


def dr_grpo(given):
    """Arxiv 2503.20783, figure 1: no deviation, no length."""
    total = 0.0
    for of_response, score, prompt, _ in given:
        advantage = score - fmean(other for _, other, its, _ in given if its == prompt)
        for logp, old, ref, _ in of_response:
            kl = math.exp(ref - logp) - 1 - (ref - logp)
            total += clipped(logp, old, advantage) + KL_COEF * kl
    return total / LIMIT / len(given)


def dapo(given):
    """Arxiv 2503.14476, equations 8, 9 and 13, of 6 tokens the last 2 penalised: 1/2 at 5, 1 at 6."""
    scores = [score - {5: 0.5, 6: 1.0}.get(len(of_response), 0.0) for of_response, score, *_ in given]
    losses = []
    for (of_response, _, prompt, _), score in zip(given, scores, strict=True):
        group = [s for s, (_, _, its, _) in zip(scores, given, strict=True) if its == prompt]
        advantage = (score - fmean(group)) / (stdev(group) + 1e-4)
        losses += [clipped(logp, old, advantage, high=0.28) for logp, old, *_ in of_response]
    return fmean(losses)


@pytest.mark.parametrize("loop", [reinforce_plus_plus, reinforce_plus_plus_baseline, dr_grpo, dapo])
def test_an_algorithm_is_the_loop_of_its_paper(loop):
    experiences = rollout(3, LIMIT, wrap=lambda batch: batch)
    generator = torch.Generator().manual_seed(3)
    moves = [0.3 * torch.randn(len(each.old_logps), generator=generator) for each in experiences]
    plain = {"normalize_rewards": False, "missing_eos_penalty": 0.0}
    found = loss_of(loop.__name__, experiences, moves, **plain)
    assert found == pytest.approx(loop(responses(experiences, moves)), abs=1e-6)


def test_ppo_is_gae_and_the_clip_over_tokens():
    """Arxiv 1707.06347, equations 7, 11 and 12, and what the scores go through before: all on by themselves."""
    experiences = rollout(2, LIMIT, wrap=lambda batch: batch)
    moves = [torch.linspace(-0.4, 0.4, len(each.old_logps)) for each in experiences]
    values = [value for each in experiences for value in each.values.double().tolist()]
    given = responses(experiences, moves)
    scores = torch.tensor([score for _, score, *_ in given], dtype=torch.float64)
    scores = ((scores - scores.mean()) / scores.std()).tolist()
    tokens, advantages, first = [], [], 0
    for (of_response, _, _, ended), score in zip(given, scores, strict=True):
        length = len(of_response)
        rewards = [-KL_COEF * kl for *_, kl in of_response]
        rewards[-1] += score - (not ended)
        v = [*values[first : first + length], 0.0]
        deltas = [rewards[t] + v[t + 1] - v[t] for t in range(length)]
        advantages += [sum(0.95 ** (k - t) * deltas[k] for k in range(t, length)) for t in range(length)]
        tokens += of_response
        first += length
    pairs = zip(tokens, whiten(advantages), strict=True)
    expected = fmean(clipped(token[0], token[1], advantage) for token, advantage in pairs)
    assert loss_of("ppo", experiences, moves) == pytest.approx(expected, abs=1e-6)


def test_each_reward_counts_by_its_rank_in_the_group_and_not_by_its_size():
    """Two rewards, one a thousand times the other: in the sum the second decides, after GDPO their weights do."""
    (experience,) = rollout(1, LIMIT, wrap=lambda batch: batch)
    small, large = torch.tensor([1.0, 0.0, 1.0, 0.0]), torch.tensor([0.0, 1000.0, 1000.0, 0.0])
    experience.parts, experience.scores = {"x:a": small, "x:b": large}, small + large
    more = {"reward_functions": ["x:a", "x:b"], "reward_weights": [3.0, 1.0], **ALGORITHMS["gdpo"].sets}
    assign_credit([experience], RunningMoments(), 0.0, config(**more))
    of_response = experience.advantages[experience.batch.lengths.cumsum(0) - 1]
    # Of each group the two rewards are +-c: 3 - 1 in the first prompt, 3 + 1 in the second.
    expected = torch.tensor([2.0, -2, 4, -4]) / (40 / 3) ** 0.5
    torch.testing.assert_close(of_response, expected, atol=1e-3, rtol=0)


def test_the_end_of_a_long_response_is_penalised():
    (experience,) = rollout(1, LIMIT, wrap=lambda batch: batch)
    experience.scores = torch.zeros(4)
    more = {"overlong_buffer": 0.5, "max_generation_length_of_sampling": LIMIT, "advantage_estimator": "rloo"}
    plain = {"normalize_rewards": False, "missing_eos_penalty": 0.0, "kl_coef": 0.0}
    assign_credit([experience], RunningMoments(), 0.0, config(**more | plain))
    last = experience.rewards[experience.batch.lengths.cumsum(0) - 1]
    assert last.tolist() == pytest.approx(
        [-max(0, length - 3) / 3 for length in experience.batch.lengths.tolist()]
    )
