"""BCO's shift, by hand."""

import torch

from training.dpo.mean_reward import MeanReward


def test_it_is_the_mean_of_all_rewards_of_the_steps_before():
    mean = MeanReward()
    shifts = []
    for step in ([[1.0, 3.0], [5.0]], [[-1.0]], []):  # micro-batches
        for rewards in step:
            shifts.append(mean.value)
            mean.see(torch.tensor(rewards))
        mean.end_step()
    assert shifts == [0, 0, 3] and mean.value == 2

    again = MeanReward()
    again.load_state_dict(mean.state_dict())
    again.see(torch.tensor([7.0]))
    again.end_step()
    assert again.value == 3
