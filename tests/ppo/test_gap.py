"""The gap between an engine and the trainer: what it is, and that each fault of an engine stops a run by its name."""

import math
from copy import deepcopy

import pytest
import torch

from tests.ppo.fake_engine import FakeEngine
from tests.stages.conftest import log
from tests.stages.test_variants import settings
from training.ppo.experience import observe
from training.ppo.models import build_models
from training.ppo.train_ppo import main as train_ppo
from training.rewards.sampler import Sampler
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.loader import step_trees
from training.utils.loop.prepare import build_encoder, load_data
from training.utils.losses.policy import truncated_weights
from training.utils.rollouts import responder
from training.utils.rollouts.gap import EngineGap, measure_gap
from training.utils.rollouts.gap_watch import GapWatch

NAMED = {
    "": None,
    "top-p": "samples likely tokens too often.*top-p",
    "truncated prompt": "another prompt than the trainer.*cut",
    "swapped pictures": "the engine sees other pictures",
    "another dtype": "the engine computes in bfloat16 and the trainer in float32",
    "stale weights": "has the weights that the run began with",
    "weights of another step": "most likely the engine holds weights of an earlier step",
    "late weights": "sent once more it is gone",
}


def test_gap_worked_by_hand():
    """Differences 0, 0.05, 0.3, 0.05: mean 0.1, highest 0.3, one of four beyond 0.1."""
    logps = torch.tensor([-1.0, -2.0, -3.0, -4.0])
    gap = measure_gap(logps + torch.tensor([0.0, 0.05, -0.3, 0.05]), logps, torch.ones(4))
    assert (gap.mean, gap.max, gap.share) == (pytest.approx(0.1), pytest.approx(0.3), 0.25)
    assert math.isnan(gap.surprise)  # of four tokens nothing can be said


def test_surprise_is_standard_normal_where_tokens_come_from_the_policy_and_low_with_top_p():
    """Against draws of torch.multinomial from distributions as a language model has them."""
    torch.manual_seed(3)
    log_p = (2 * torch.randn(20, 3000, 50)).log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)

    def surprises(drawn_from):
        found = []
        for each, of, h in zip(drawn_from, log_p, entropy, strict=True):
            logps = of.gather(-1, torch.multinomial(each, 1))[:, 0]
            found.append(measure_gap(logps, logps, h).surprise)
        return torch.tensor(found)

    right = surprises(log_p.exp())
    assert right.abs().max() < 4 and 0.5 < right.std() < 1.6
    ordered, order = log_p.exp().sort(descending=True)
    kept = ordered.cumsum(-1) - ordered < 0.9
    assert surprises((ordered * kept).scatter(-1, order, ordered * kept)).max() < -12


def test_a_policy_that_is_nearly_sure_is_not_blamed_for_surprises_that_stay_out():
    """1,000 tokens of probability 0.999: without a single rare one their surprise is below the entropy in each."""
    logps = torch.full((1000,), math.log(0.999))
    gap = measure_gap(logps, logps, torch.full((1000,), 0.0148))
    assert math.isnan(gap.surprise)


def test_truncated_weights_worked_by_hand():
    """p / q of 0.5, 1, 1.5 and 4, cut at 2."""
    ratios = torch.tensor([0.5, 1.0, 1.5, 4.0])
    sampled = torch.tensor([-1.0, -2.0, -0.5, -3.0])
    torch.testing.assert_close(
        truncated_weights(sampled + ratios.log(), sampled, 2.0), torch.tensor([0.5, 1.0, 1.5, 2.0])
    )


def no_reward(record, responses):
    return [float(number) for number, _ in enumerate(responses)]


def config(tiny_llava, output, **more):
    run = {"reward_functions": [f"{__name__}:no_reward"], "advantage_estimator": "grpo", "num_generations": 6}
    run |= {"max_steps": 1, "max_generation_length_of_sampling": 16, "actor_learning_rate": 1e-3}
    return PPOConfig(**settings(tiny_llava, "ppo.json", output, **run | more))


def parts_of(given):
    """The parts of a run, and the weights that it begins with."""
    encoder = build_encoder(given, given.from_checkpoint)
    data = load_data(given, encoder, min_responses=0)
    models = build_models(given, encoder, data)
    sampler = Sampler(models.actor, models.rewards, given, data)
    prompts = next(iter(step_trees(data, 0)))
    return (given, encoder, models, sampler, prompts), deepcopy(models.actor.module.state_dict())


def from_its_start(parts):
    """The parts of a run, with the weights that it begins with."""
    found, weights = parts
    found[2].actor.module.load_state_dict(weights)
    return found


def figures_of_a_step(parts):
    """What the watch of a run says of its first step."""
    given, _, models, sampler, prompts = parts
    with sampler.engine.awake():
        sampled = sampler.sample(prompts, 1)
    return GapWatch(given, sampler, models.actor).look(1, observe(sampled, models, given))


@pytest.fixture(scope="module")
def parts(tiny_llava, tmp_path_factory):
    return parts_of(config(tiny_llava, tmp_path_factory.mktemp("gap")))


@pytest.fixture
def run(parts):
    return from_its_start(parts)


@torch.no_grad()
def move(policy):
    """Moves the trained weights of a policy, as some steps do."""
    for weight in policy.parameters():
        if weight.requires_grad:
            weight += 0.02 * torch.randn_like(weight)


@pytest.mark.parametrize("fault", NAMED)
def test_each_fault_of_an_engine_is_named(run, fault):
    _, encoder, models, sampler, _ = run
    policy = models.actor.module
    if fault in ("weights of another step", "late weights"):
        move(policy)
    sampler.engine = FakeEngine(policy, encoder, fault.replace("weights of another step", "stale weights"))
    move(policy)
    if fault:
        with pytest.raises(EngineGap, match=NAMED[fault]):
            figures_of_a_step(run)
    else:
        assert figures_of_a_step(run)["gap_max"] < 1e-4


def test_a_run_stops_at_a_gap_that_jumps_although_it_is_below_the_limit(run, monkeypatch):
    given, encoder, models, sampler, prompts = run
    sampler.engine = FakeEngine(models.actor.module, encoder, "another dtype")
    watch = GapWatch(given, sampler, models.actor)
    watch.limit = 0.01
    with sampler.engine.awake():
        experiences = observe(sampler.sample(prompts, 1), models, given)
    assert 0.001 < watch.look(1, experiences)["gap_mean"] < 0.01
    watch.earlier.extend([1e-4] * 3)
    watch.earlier.popleft()
    with pytest.raises(EngineGap, match="in the steps before it was 0.0001 at most"):
        watch.look(2, experiences)


def train(tiny_llava, output, monkeypatch, beside=0.0, **more):
    """The log of a run with an engine that tells its log-probabilities."""

    def build(given, lend, encoder, **sizes):
        with lend() as policy:
            return FakeEngine(policy, encoder, beside=beside)

    monkeypatch.setattr(responder, "build_rollout_engine", build)
    train_ppo(config(tiny_llava, output, **more))
    return log(output)


def test_a_run_shows_the_gap_and_the_weights_that_correct_for_it(tiny_llava, tmp_path, monkeypatch):
    for line in train(tiny_llava, tmp_path, monkeypatch, max_steps=2):
        assert line["gap_mean"] <= line["gap_max"] < 1e-4 and line["gap_share"] == 0
        assert line["is_weight"] == pytest.approx(1, abs=1e-4)


def test_a_token_that_the_trainer_finds_likelier_counts_more_up_to_the_cap(tiny_llava, tmp_path, monkeypatch):
    """An engine whose probabilities are a third of the trainer's: each loss counts 3 times, or as the cap says."""
    far = {"rollout_max_gap": 9.0, "kl_coef": 0.0, "beside": -math.log(3), "topp": 0.9999}
    norms = [
        train(tiny_llava, tmp_path / str(cap), monkeypatch, rollout_is_cap=cap, **far)[0]["actor_grad_norm"]
        for cap in (0.0, 2.0, 9.0)
    ]
    assert norms[1] == pytest.approx(2 * norms[0], rel=1e-3)
    assert norms[2] == pytest.approx(3 * norms[0], rel=1e-3)
