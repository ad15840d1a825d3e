"""Advantages of a rollout: few operations whatever its size, and none for which a process waits for its device."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.host_reads import OnDevice, on_device, reads
from training.ppo.experience import Experience, assign_credit, rollout_figures
from training.utils.config.objective_config import ESTIMATORS
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.tree import Response, Tree, collate
from training.utils.losses.policy import RunningMoments

IS_VIEW = (
    "view",
    "slice",
    "select",
    "expand",
    "unsqueeze",
    "alias",
    "detach",
    "split",
    "unbind",
    "t.default",
)


class Operations(TorchDispatchMode):
    """Counts what would be kernels on a device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += not any(part in str(func) for part in IS_VIEW)
        return func(*args, **(kwargs or {}))


def rollout(num_batches, length, seed=0, wrap=on_device):
    """Two prompts with two responses each in every micro-batch."""
    generator = torch.Generator().manual_seed(seed)
    experiences = []
    for _ in range(num_batches):
        lengths = torch.randint(1, length + 1, (2, 2), generator=generator).tolist()
        lengths[0][0] = length
        trees = [
            Tree("a", [1], [False], [Response([2] * n, ended=n % 2 == 0) for n in some]) for some in lengths
        ]
        batch = collate([[tree] for tree in trees], 0, lambda parts: {})

        def drawn(number):
            values = torch.randn(number, generator=generator)
            return values.as_subclass(OnDevice) if wrap is on_device else values

        numbers = [batch.num_learned] * 5 + [batch.num_responses]
        logps, entropy, ref_logps, token_kl, values, scores = map(drawn, numbers)
        experiences.append(
            Experience(trees, wrap(batch), scores, {}, logps, entropy, ref_logps, token_kl, values)
        )
    return experiences


def config(**more):
    given = {"from_checkpoint": "x", "data_path": "x", "output_dir": "x", "reward_functions": ["x:y"]}
    return PPOConfig(**given | {"critic_init": "policy", "num_generations": 2} | more)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_credit_is_assigned_in_few_operations_and_two_reads(estimator):
    for num_batches, length in ((1, 20), (8, 2000)):
        experiences = rollout(num_batches, length)
        reads.clear()
        with Operations() as operations:
            assign_credit(experiences, RunningMoments(), 0.1, config(advantage_estimator=estimator))
        assert operations.count < 300
        assert sum(reads.values()) <= 2, reads  # the moments of the scores, and of the advantages


@pytest.mark.parametrize("estimator", ["gae", "rloo"])
def test_the_cut_into_micro_batches_changes_nothing(estimator):
    """Four micro-batches at once against each alone, where nothing is normalised over all."""
    alike = {"advantage_estimator": estimator, "normalize_rewards": False, "whiten_advantages": False}
    together, alone = rollout(4, 9, wrap=lambda batch: batch), rollout(4, 9, wrap=lambda batch: batch)
    assign_credit(together, RunningMoments(), 0.1, config(**alike))
    for experience in alone:
        assign_credit([experience], RunningMoments(), 0.1, config(**alike))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one.advantages, other.advantages, atol=1e-6, rtol=0)
        assert (one.returns is None) == (estimator == "rloo")
        if one.returns is not None:
            torch.testing.assert_close(one.returns, other.returns, atol=1e-6, rtol=0)


def test_whitened_advantages_have_mean_0_and_deviation_1():
    experiences = rollout(3, 30, wrap=lambda batch: batch)
    assign_credit(experiences, RunningMoments(), 0.1, config())
    advantages = torch.cat([experience.advantages for experience in experiences])
    assert advantages.mean().abs() < 1e-6
    torch.testing.assert_close(advantages.std(correction=0), torch.tensor(1.0))


def test_a_rollout_shows_the_share_of_prompts_whose_samples_have_one_score():
    (experience,) = rollout(1, 5, wrap=lambda batch: batch)
    assert experience.batch.prompt_of_response.tolist() == [0, 0, 1, 1]
    experience.returns = experience.values
    experience.scores = torch.tensor([0.3, 0.3, 0.2, 0.1])
    dull, prompts = rollout_figures(experience)["dull"]
    assert (int(dull), prompts) == (1, 2)
