"""What DPO shows of its pairs, by hand."""

import pytest
import torch

from training.dpo.objective import preference_figures
from training.dpo.ranked import Ranked


def test_the_reference_agrees_where_a_token_of_the_chosen_response_is_likelier():
    """The chosen ones are longer: by sums of log-probabilities it would agree with neither, by tokens with one."""
    ref_logps = torch.tensor([-4.0, -3.0, -6.0, -2.0])
    lengths = torch.tensor([8, 3, 4, 2])  # a token: -0.5 above -1; -1.5 below -1
    ranked = Ranked(ref_logps - 1, ref_logps, lengths, torch.tensor([0, 0, 1, 1]), 2)
    right, pairs = preference_figures(ranked, 0.1)["reference_accuracy"]
    assert float(right) / pairs == pytest.approx(0.5)
