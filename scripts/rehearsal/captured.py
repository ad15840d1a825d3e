"""The training step that a stage's own `main` hands to its loop."""

from collections.abc import Callable
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

from training.dpo import train_dpo
from training.reward_model import train_rm
from training.sft import train_sft
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.engine.engine import Engine
from training.utils.model.family import Family

FITTED = {
    "sft": (train_sft, SFTConfig),
    "rm": (train_rm, RewardConfig),
    "dpo": (train_dpo, DPOConfig),
}


def captured_fit(stage: str, config: object, family: Family) -> tuple[Engine, Callable]:
    """Runs a stage's own `main` up to its training loop: the engine and the loss function that it hands over."""
    module, _ = FITTED[stage]
    handed: dict[str, object] = {}

    def fit(engine: Engine, loss_function: Callable, *_, **__) -> None:
        handed.update(engine=engine, loss_function=loss_function)

    run = MagicMock()
    run.return_value.load_checkpoint.return_value = (0, None)
    data = SimpleNamespace(
        sampler=SimpleNamespace(num_steps=1), encoder=SimpleNamespace(family=family), encode=None, train=()
    )
    stand_ins = {
        "build_encoder": lambda *_: data.encoder,
        "load_data": lambda *_, **__: data,
        "Run": run,
        "fit": fit,
    }
    with patch.multiple(module, **stand_ins):
        module.main(config)
    return handed["engine"], handed["loss_function"]
