"""How long the learning rates of two lengths of a run are the same."""

import pytest

from training.utils.config.stage_config import SFTConfig
from training.utils.engine.schedule import same_until


@pytest.mark.parametrize(
    ("schedule", "warmup", "same_steps"),
    [
        ("constant", 0.0, 20),
        ("constant_with_warmup", 5, 20),
        ("constant_with_warmup", 0.5, 0),  # 5 steps of warm-up, or 10: only the first rate, 0, is the same
        ("cosine", 5, 5),  # up to the peak, the rate of the sixth
        ("cosine", 0.0, 0),
        ("linear", 0.0, 0),
        ("inverse_sqrt", 5, 20),  # it falls without knowing of an end
    ],
)
def test_steps_with_the_same_learning_rates(schedule, warmup, same_steps):
    config = SFTConfig(
        from_checkpoint="x",
        data_path="x",
        output_dir="x",
        lr_scheduler_type=schedule,
        num_warmup_steps=warmup,
    )
    assert [step for step in range(21) if same_until(step, config, 10, 20)] == list(range(same_steps + 1))
