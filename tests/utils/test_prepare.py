"""What is held out, and how much of it an evaluation uses."""

import pytest

from tests.conftest import SAMPLES
from training.utils.config.stage_config import DPOConfig, SFTConfig
from training.utils.loop.prepare import build_encoder, load_data


def load(model, output, config_class=SFTConfig, file="sft.json", **more):
    settings = {"from_checkpoint": str(model), "data_path": str(SAMPLES / file), "output_dir": str(output)}
    config = config_class(**settings | {"max_seq_len": 256} | more)
    return load_data(config, build_encoder(config, model), min_responses=1)


def ids(records):
    return [record.id for record in records]


@pytest.mark.parametrize(
    "more", [{"data_train_split_ratio": 0.5}, {"eval_data_path": str(SAMPLES / "sft.json")}]
)
def test_an_evaluation_uses_some_of_the_held_out_records_the_same_each_time(more, tiny_llava, tmp_path):
    whole = load(tiny_llava, tmp_path, **more)
    bounded, again = (load(tiny_llava, tmp_path, eval_samples=5, **more) for _ in range(2))
    assert ids(bounded.held_out) == ids(again.held_out)
    assert (
        len(bounded.held_out)
        == 5
        < len(whole.held_out)
        == len(load(tiny_llava, tmp_path, eval_samples=0, **more).held_out)
    )
    assert set(ids(bounded.held_out)) < set(ids(whole.held_out))
    assert ids(bounded.train) == ids(whole.train)  # what is trained on does not depend on it


def test_dpo_holds_nothing_out_unless_asked(tiny_llava, tmp_path):
    assert not load(tiny_llava, tmp_path, DPOConfig, "reward.json").held_out
    assert load(tiny_llava, tmp_path, DPOConfig, "reward.json", data_train_split_ratio=0.9).held_out
