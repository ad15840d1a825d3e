"""What an earlier stage wrote about a model is part of what a run is, as far as it changes what the model says."""

import json
import shutil
from types import SimpleNamespace

import pytest

from training.utils.config.ppo_config import PPOConfig
from training.utils.files.model_folder import METADATA_FILE
from training.utils.run.identity import Identity, identify


@pytest.fixture
def identity_of(tiny_llava, tmp_path):
    judge = tmp_path / "judge"
    shutil.copytree(tiny_llava, judge)
    encoder = SimpleNamespace(template_name="vicuna", word_tokens=[], family=None, template=None)
    config = PPOConfig(
        from_checkpoint=str(tiny_llava), data_path="a", output_dir="b", reward_model_ckpt_path=[str(judge)]
    )

    def of(about: dict) -> Identity:
        (judge / METADATA_FILE).write_text(json.dumps(about))
        return identify(config, encoder)

    return of


BEFORE = {"template": "vicuna", "verdict": {"question": "Is it right?"}, "captions": False}


@pytest.mark.parametrize(
    "change",
    [
        {"template": "llava"},
        {"verdict": {"question": "Is it wrong?"}},
        {"captions": True},
        {"word_tokens": ["<box>"]},
    ],
    ids=str,
)
def test_a_reward_model_that_is_asked_something_else_is_another(identity_of, change):
    before = identity_of(BEFORE)
    (told,) = identity_of(BEFORE | change).differences(before)
    assert told.startswith("--reward_model_ckpt_path is read with {")


def test_what_changes_nothing_it_says_and_what_an_older_run_did_not_write_down_stop_no_run(identity_of):
    before = identity_of(BEFORE)
    assert identity_of(BEFORE | {"adapter_of": "abc"}).differences(before) == []
    older = {name: value for name, value in before.settings.items() if "is read with" not in name}
    assert before.differences(Identity(older, before.inputs)) == []
