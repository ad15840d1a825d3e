"""A reward model with an output for each of several aspects."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from eval.predict import main as predict
from tests.conftest import SAMPLES
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.score import main as score
from training.reward_model.train_rm import main as train_rm
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import PredictConfig, RewardConfig
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.losses.responses import of_aspect

ASPECTS = ["helpful", "truthful"]
ANSWERS = ["A red square.", "It is a blue star, I think."]


def test_a_ranking_trains_its_aspect_or_the_mean_of_all():
    scores = torch.tensor([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0]], requires_grad=True)
    chosen = of_aspect(scores, torch.tensor([1, 0, -1]))
    assert chosen.tolist() == [10.0, 2.0, 16.5]
    chosen.sum().backward()
    assert scores.grad.tolist() == [[0, 1], [1, 0], [0.5, 0.5]]


def rows(*aspects: str) -> list[dict]:
    """Helpful is the first answer, truthful the second: no single score could say both."""
    image = json.loads((SAMPLES / "reward.json").read_text())[0]["image"]
    lines = []
    for number, aspect in enumerate(aspects):
        ranked = ANSWERS[::-1] if aspect == "truthful" else ANSWERS
        turns = [{"from": "human", "value": "<image>\nWhat is this?"}, {"from": "gpt", "value": ranked}]
        lines.append({"id": str(number), "image": image, "conversations": turns})
        lines[-1] |= {"aspect": aspect} if aspect else {}
    return lines


@pytest.fixture(scope="module")
def trained(tiny_llava, tmp_path_factory):
    folder = tmp_path_factory.mktemp("aspects")
    (folder / "pairs.json").write_text(json.dumps(rows(*ASPECTS * 6)))
    more = {"image_folder": str(SAMPLES), "max_steps": 30, "learning_rate": 3e-3, "aspects": ASPECTS}
    train_rm(RewardConfig(**settings(tiny_llava, folder / "pairs.json", folder / "rm", **more)))
    return folder


def test_each_output_learns_what_its_records_say(trained):
    (*_, last) = [line for line in jsonl.read(trained / "rm" / "log.jsonl") if "accuracy" in line]
    assert last["accuracy helpful"] == last["accuracy truthful"] == last["accuracy"] == 1
    model = resolve_checkpoint(trained / "rm")
    assert json.loads((model / "value_head.json").read_text())["aspects"] == ASPECTS
    assert load_file(model / "value_head.safetensors")["v_head.weight"].shape == (2, 48)


def scored(trained, output, *weights: str, **more) -> list[dict]:
    data = {"data_path": str(trained / "pairs.json"), "image_folder": str(SAMPLES), "max_seq_len": 256}
    given = {"from_checkpoint": str(trained / "rm"), "aspect_weights": [*weights]} | data | more
    score(RewardScoreConfig(output_path=str(output), **given))
    return jsonl.read(output)


def test_scores_are_the_weighted_sum_and_stand_beside_those_of_each_aspect(trained, tmp_path):
    model = trained / "rm"
    for weights, (helpful, truthful) in (
        ((), (0.5, 0.5)),
        (("helpful:0.5", "truthful:-2"), (0.5, -2)),
        (("truthful",), (0, 1)),
    ):
        for line in scored(trained, tmp_path / "s.jsonl", *weights, health_path=str(tmp_path / "health")):
            one, other = line["parts"][f"{model} helpful"], line["parts"][f"{model} truthful"]
            expected = [helpful * a + truthful * b for a, b in zip(one, other, strict=True)]
            assert line["scores"] == pytest.approx(expected, abs=1e-5)
    report = json.loads((tmp_path / "health" / "report.json").read_text())
    assert {name: group["accuracy"] for name, group in report["by_aspect"].items()} == {
        "helpful": 100.0,
        "truthful": 100.0,
    }
    assert "aspect, by its own scores" in (tmp_path / "health" / "report.md").read_text()


def test_how_many_records_train_which_is_told(tiny_llava, tmp_path, capsys):
    (tmp_path / "pairs.json").write_text(json.dumps(rows(*["helpful"] * 3, "truthful", "", "")))
    more = {"image_folder": str(SAMPLES), "max_steps": 1, "aspects": ASPECTS}
    train_rm(RewardConfig(**settings(tiny_llava, tmp_path / "pairs.json", tmp_path / "rm", **more)))
    told = "aspects: 3 train helpful, 1 train truthful; 2 name none, and train the mean of all"
    assert told in capsys.readouterr().out


def test_aspects_that_are_unknown_or_others_are_refused(trained, tiny_llava, tmp_path):
    data = tmp_path / "pairs.json"
    data.write_text(json.dumps(rows("helpful", "kind")))
    more = {"image_folder": str(SAMPLES), "max_steps": 1}

    def train(**flags):
        train_rm(RewardConfig(**settings(tiny_llava, data, tmp_path / "rm", **more | flags)))

    with pytest.raises(
        DataError, match=r"`aspect` is 'kind', expected one that is learned \(helpful, truthful\)"
    ):
        train(aspects=ASPECTS)
    with pytest.raises(DataError, match=r"`aspect` is 'helpful', .*none is named by --aspects"):
        train()
    with pytest.raises(DataError, match="has the aspects helpful truthful; expected the same"):
        train(aspects=["helpful", "kind"], trained_reward_model=str(trained / "rm"))
    with pytest.raises(DataError, match="--aspect_weights kind: .* has the aspects helpful, truthful"):
        scored(trained, tmp_path / "s.jsonl", "kind:2")
    for wrong in (["helpful"], ["a", "a"], ["a b", "c"]):
        with pytest.raises(ConfigError, match="--aspects"):
            train(aspects=wrong)
    with pytest.raises(ConfigError, match="--aspect_weights helpful:much: expected NAME:WEIGHT"):
        scored(trained, tmp_path / "s.jsonl", "helpful:much")


def test_the_run_is_another_with_other_aspects(trained, tiny_llava):
    more = {"image_folder": str(SAMPLES), "max_steps": 30, "learning_rate": 3e-3, "resume": "auto"}
    with pytest.raises(DataError, match="--aspects helpful truthful, and this run has truthful helpful"):
        train_rm(
            RewardConfig(
                **settings(tiny_llava, trained / "pairs.json", trained / "rm", **more, aspects=ASPECTS[::-1])
            )
        )


def test_it_goes_on_with_the_aspects_that_its_folder_names(trained, tiny_llava, tmp_path):
    more = {"image_folder": str(SAMPLES), "max_steps": 1, "trained_reward_model": str(trained / "rm")}
    train_rm(RewardConfig(**settings(tiny_llava, trained / "pairs.json", tmp_path / "rm", **more)))
    about = json.loads((resolve_checkpoint(tmp_path / "rm") / "value_head.json").read_text())
    assert about["aspects"] == ASPECTS


def test_ppo_and_the_best_of_n_go_by_the_weighted_sum(trained, tiny_llava, tmp_path):
    rewards = {"reward_model_ckpt_path": [str(trained / "rm")], "aspect_weights": ["truthful:2"]}
    ppo = rewards | {"max_generation_length_of_sampling": 4, "max_steps": 1}
    with pytest.raises(DataError, match="no values that a critic could start from"):
        train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "a", **ppo)))
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path / "b", critic_init="policy", **ppo)))
    line, _ = jsonl.read(tmp_path / "b" / "log.jsonl")
    assert line["reward"] == pytest.approx(2 * line[f"reward {trained / 'rm'} truthful"], rel=1e-5)

    # One output with the weights of the second, twice as large, gives the same scores.
    single = tmp_path / "single"
    shutil.copytree(resolve_checkpoint(trained / "rm"), single)
    weight = load_file(single / "value_head.safetensors")["v_head.weight"]
    save_file({"v_head.weight": 2 * weight[1:]}, single / "value_head.safetensors")
    (single / "value_head.json").unlink()
    lines = []
    for name, given in (("several", rewards), ("single", {"reward_model_ckpt_path": [str(single)]})):
        sampling = {"temperature": 1.0, "num_return_sequences": 2, "max_new_tokens": 4, "max_seq_len": 256}
        data = {"data_path": str(SAMPLES / "predict.json"), "output_path": str(tmp_path / f"{name}.jsonl")}
        predict(PredictConfig(from_checkpoint=str(tiny_llava), **data, **sampling, **given))
        lines.append([each["scores"] for each in jsonl.read(tmp_path / f"{name}.jsonl")])
    for one, other in zip(*lines, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
