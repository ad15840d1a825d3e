"""KL and reward of a policy on its own answers."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from eval.drift import main as drift
from tests.conftest import SAMPLES, picture
from training.utils.config.sampled_config import DriftConfig
from training.utils.data.loader import eval_shares
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.rollouts.own import OwnEngine


@pytest.fixture(scope="module")
def sharper(tiny_llava, tmp_path_factory):
    """The same model with a larger last layer, and so with other probabilities; and a reward head."""
    folder = tmp_path_factory.mktemp("sharper") / "llava"
    shutil.copytree(tiny_llava, folder)
    weights = load_file(folder / "model.safetensors")
    weights["language_model.lm_head.weight"] *= 3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    save_file({"weight": torch.ones(1, 48)}, folder / "value_head.safetensors")
    return folder


def measured(policy, reference, tmp_path, judge="", **settings):
    more = {
        "reference": str(reference),
        "data_path": str(SAMPLES / "ppo.json"),
        "reward_model_ckpt_path": [str(judge)] if judge else [],
        "dataset_samples": "6",
    }
    more |= {"num_return_sequences": 40, "max_new_tokens": 3, "output_path": str(tmp_path / "drift.json")}
    more |= settings
    drift(DriftConfig(from_checkpoint=str(policy), **more))
    return json.loads((tmp_path / "drift.json").read_text())


def test_a_policy_is_at_no_distance_from_itself(tiny_llava, tmp_path):
    found = measured(tiny_llava, tiny_llava, tmp_path)
    lines = jsonl.read(tmp_path / "drift.jsonl")
    assert len(lines) == 6 and all(len(line["responses"]) == 40 for line in lines)
    assert found["n"] == 240 and abs(found["kl"]["mean"]) < 1e-5 and "reward" not in found


def test_another_one_is_at_a_positive_distance_and_its_answers_get_scores(sharper, tiny_llava, tmp_path):
    found = measured(sharper, tiny_llava, tmp_path, judge=sharper)
    assert found["kl"]["mean"] > 3 * found["kl"]["standard_error"] > 0
    assert found["reward"]["standard_error"] > 0


def test_batches_are_read_as_they_come(tiny_llava, tmp_path, monkeypatch):
    taken, seen = [], []

    def counted(*given):
        for share in eval_shares(*given):
            taken.append(share)
            yield share

    def respond(self, *given):
        seen.append(len(taken))
        return answer(self, *given)

    answer = OwnEngine.respond
    monkeypatch.setattr("eval.drift.eval_shares", counted)
    monkeypatch.setattr(OwnEngine, "respond", respond)
    measured(tiny_llava, tiny_llava, tmp_path, batch_size=2)
    assert seen == [1, 2, 3]


def test_a_missing_label_is_told_before_a_model_is_loaded(tiny_llava, tmp_path):
    more = {"reward_functions": ["exact"], "output_path": str(tmp_path / "drift.json")}
    data = str(SAMPLES / "ppo.json")
    with pytest.raises(DataError, match="has no label"):
        drift(DriftConfig(from_checkpoint=str(tiny_llava), data_path=data, reference=str(tiny_llava), **more))


def test_what_was_measured_of_other_records_or_pictures_is_not_taken_for_it(tiny_llava, tmp_path, capsys):
    picture(0).save(tmp_path / "a.png")
    asked = [
        {"image": "a.png", "problem": "<image>What is it?", "answer": "a cat"},
        {"problem": "Who?", "answer": "I"},
    ]
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    few = {"num_return_sequences": 2, "max_new_tokens": 1, "data_path": str(tmp_path / "asked.json")}
    assert measured(tiny_llava, tiny_llava, tmp_path, **few, dataset_samples="1")["n"] == 2
    with pytest.raises(
        DataError, match="drift.json: was begun with --dataset_samples 1, and this run has all"
    ):
        measured(tiny_llava, tiny_llava, tmp_path, **few, dataset_samples="all")
    (tmp_path / "drift.json").unlink()
    for shown, told in ((0, "4 answers"), (0, "measured before"), (1, "--image_folder: pictures")):
        picture(shown).save(tmp_path / "a.png")
        capsys.readouterr()
        measured(tiny_llava, tiny_llava, tmp_path, **few, dataset_samples="all")
        assert told in capsys.readouterr().out
