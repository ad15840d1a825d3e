"""The perceiver knows where its features and its queries are."""

import math

import torch

from training.utils.model.projectors import Perceiver, grid_positions


class Config:
    class vision_config:
        hidden_size = 6

    class text_config:
        hidden_size = 8

    num_queries = 4


def test_positions_worked_by_hand():
    """2 x 2 points of a picture of 2 x 2: rows 0 0 1 1, columns 0 1 0 1; frequencies 1 and 1/100 for size 8."""
    positions = grid_positions(4, 8, frame=2)
    for point, (row, column) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
        expected = [wave(at * f) for at in (row, column) for wave in (math.sin, math.cos) for f in (1, 0.01)]
        torch.testing.assert_close(positions[point], torch.tensor(expected))


def test_a_finer_grid_divides_the_same_picture():
    """4 x 4 points of the same picture lie at -0.25, 0.25, 0.75 and 1.25: around 0 and 1, the places of 2 x 2."""
    positions = grid_positions(16, 8, frame=2)
    torch.testing.assert_close(positions[:4, 4], torch.tensor([-0.25, 0.25, 0.75, 1.25]).sin())
    torch.testing.assert_close(positions[::4, 0], torch.tensor([-0.25, 0.25, 0.75, 1.25]).sin())


def test_where_a_feature_lies_makes_a_difference():
    torch.manual_seed(0)
    perceiver = Perceiver(Config)
    features = torch.randn(1, 9, 6)
    moved = features[:, torch.randperm(9)]
    assert perceiver(features).shape == (1, 4, 8)
    assert (perceiver(features) - perceiver(moved)).abs().max() > 1e-3
