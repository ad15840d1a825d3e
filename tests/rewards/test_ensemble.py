"""Several reward models as one, against figures worked by hand, and through every command that scores."""

import json
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from eval.drift import main as drift
from eval.predict import main as predict
from tests.conftest import SAMPLES
from training.dpo.train_online import main as train_online
from training.online.score import main as score_samples
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.score import main as score
from training.rewards.ensemble import COMBINED, Ensemble, Scale, scales_of
from training.rewards.models import together
from training.rewards.reward import Explained, WeightedRewards, each
from training.utils.config.ensemble_config import KINDS
from training.utils.config.flags import ConfigError
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.sampled_config import DriftConfig, SampleScoreConfig
from training.utils.config.stage_config import PredictConfig
from training.utils.data.record import DataError
from training.utils.files import jsonl

# Of three members for two responses, as they are; their means and deviations are 0 and 1, 10 and 2, 0 and 4.
SCORES = {"a": [1.0, -1.0], "b": [14.0, 8.0], "c": [12.0, -4.0]}
SCALES = [Scale(0.0, 1.0), Scale(10.0, 2.0), Scale(0.0, 4.0)]
# So they are 1, 2, 3 and -1, -1, -1 in their own measures.


def ensemble(kind: str, **more) -> dict[str, list[float]]:
    members = {name: each({name: lambda *_, v=values: torch.tensor(v)}) for name, values in SCORES.items()}
    scores = Ensemble(members, SCALES, kind, **more)([], None)
    return {name: values.tolist() for name, values in scores.items()}


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("mean", {}, [2.0, -1.0]),
        ("min", {}, [1.0, -1.0]),
        ("mean_std", {}, [2 - (2 / 3) ** 0.5, -1.0]),
        ("mean_std", {"deviations": 3.0}, [2 - 3 * (2 / 3) ** 0.5, -1.0]),
    ],
)
def test_members_count_together_in_their_own_measures(kind, more, expected):
    found = ensemble(kind, **more)
    assert found["ensemble"] == pytest.approx(expected)
    assert found["ensemble_std"] == pytest.approx([(2 / 3) ** 0.5, 0.0])
    assert {name: found[name] for name in SCORES} == SCORES  # shown as they are
    assert set(KINDS) == set(COMBINED)


def test_a_member_that_says_why_counts_all_the_same():
    def explained(trees, batch):
        return {"a": Explained(torch.tensor(SCORES["a"]), ["x", "y"])}

    members = {"a": explained, "b": each({"b": lambda *_: torch.tensor(SCORES["b"])})}
    rewards = WeightedRewards([Ensemble(members, SCALES[:2], "min")], {"ensemble": 1.0})
    total, parts, said = rewards([], None)
    assert total.tolist() == [1.0, -1.0] and parts["a"].tolist() == SCORES["a"] and said == {"a": ["x", "y"]}


@pytest.fixture(scope="module")
def members(tiny_llava, tmp_path_factory):
    """Two reward models that differ in their heads; the second gives scores a hundred times as large."""
    folders = []
    for number, size in enumerate((1.0, 100.0)):
        folder = tmp_path_factory.mktemp("members") / f"rm{number}"
        shutil.copytree(tiny_llava, folder)
        head = torch.randn(1, 48, generator=torch.Generator().manual_seed(number))
        save_file({"weight": size * head}, folder / "value_head.safetensors")
        folders.append(str(folder))
    return folders


def scored(folder: str, output, **more) -> list[dict]:
    data = {"data_path": str(SAMPLES / "reward.json"), "max_seq_len": 256}
    score(RewardScoreConfig(from_checkpoint=folder, output_path=str(output), **data, **more))
    return jsonl.read(output)


@pytest.fixture(scope="module")
def measured(members, tmp_path_factory):
    """Their scores, after their scales were kept."""
    folder = tmp_path_factory.mktemp("measured")
    return [scored(one, folder / f"{n}.jsonl", keep_scale=True) for n, one in enumerate(members)]


def test_a_scale_is_that_of_the_scores_and_is_kept_in_the_folder(members, measured):
    for folder, lines in zip(members, measured, strict=True):
        values = [value for line in lines for value in line["scores"]]
        mean = sum(values) / len(values)
        std = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
        assert Scale.read(folder).mean == pytest.approx(mean)
        assert Scale.read(folder).std == pytest.approx(std)
        assert Scale.read(folder).answers == len(values)
    with pytest.raises(DataError, match="2 answers with one score; expected several that differ"):
        Scale.of([1.0, 1.0])


def lowest(lines: list[list[dict]], scales: list[Scale]) -> list[list[float]]:
    """Of two members, worked out from the scores of each alone."""
    return [
        [
            min((a - scales[0].mean) / scales[0].std, (b - scales[1].mean) / scales[1].std)
            for a, b in zip(one["scores"], other["scores"], strict=True)
        ]
        for one, other in zip(*lines, strict=True)
    ]


def test_scores_of_both_are_those_of_each_and_stand_beside_the_ensemble(members, measured, tmp_path):
    more = {"ensemble_with": members[1:], "reward_ensemble": "min", "batch_size": 3}
    lines = scored(members[0], tmp_path / "both.jsonl", **more)
    expected = lowest(measured, [Scale.read(folder) for folder in members])
    for line, values, *alone in zip(lines, expected, *measured, strict=True):
        assert line["scores"] == pytest.approx(values, abs=1e-4) == line["parts"]["ensemble"]
        for folder, single in zip(members, alone, strict=True):
            assert line["parts"][folder] == pytest.approx(single["scores"], rel=1e-4, abs=1e-4)


def predicted(model, output, **rewards) -> list[dict]:
    sampling = {"temperature": 1.0, "num_return_sequences": 3, "max_new_tokens": 5, "max_seq_len": 256}
    data = {"data_path": str(SAMPLES / "predict.json"), "output_path": str(output)}
    predict(PredictConfig(from_checkpoint=str(model), **data, **sampling, **rewards))
    return jsonl.read(output)


def test_the_best_of_n_is_the_best_of_the_ensemble(members, measured, tiny_llava, tmp_path):
    both = {"reward_model_ckpt_path": members, "reward_ensemble": "min"}
    lines = predicted(tiny_llava, tmp_path / "both.jsonl", **both)
    alone = [
        predicted(tiny_llava, tmp_path / f"{n}.jsonl", reward_model_ckpt_path=[one])
        for n, one in enumerate(members)
    ]
    expected = lowest(alone, [Scale.read(folder) for folder in members])
    for line, values in zip(lines, expected, strict=True):
        assert line["scores"] == pytest.approx(values, abs=1e-3)
        assert line["response"] == line["responses"][values.index(max(values))]
    other = predicted(tiny_llava, tmp_path / "f.jsonl", reward_functions=["length"], reward_length=[0, 1])
    assert [line["responses"] for line in other] == [line["responses"] for line in lines]
    assert all(value <= 0 for line in other for value in line["scores"])


def test_online_scoring_goes_by_the_ensemble(members, measured, tiny_llava, tmp_path):
    config = SampleScoreConfig(
        from_checkpoint=str(tiny_llava),
        data_path=str(SAMPLES / "reward.json"),
        output_path=str(tmp_path / "s.jsonl"),
        max_seq_len=256,
        reward_model_ckpt_path=members,
        reward_ensemble="min",
    )
    score_samples(config)
    expected = lowest(measured, [Scale.read(folder) for folder in members])
    for line, values in zip(jsonl.read(tmp_path / "s.jsonl"), expected, strict=True):
        assert line["scores"] == pytest.approx(values, abs=1e-4)
        assert set(line["parts"]) == {"ensemble", "ensemble_std", *members}


def test_policy_optimisation_goes_by_the_ensemble(members, measured, tiny_llava, tmp_path):
    train_ppo(
        PPOConfig(
            from_checkpoint=str(tiny_llava),
            data_path=str(SAMPLES / "ppo.json"),
            output_dir=str(tmp_path),
            reward_model_ckpt_path=members,
            reward_ensemble="mean_std",
            max_seq_len=256,
            max_steps=1,
            num_generations=2,
            advantage_estimator="grpo",
            normalize_each_reward=True,
            max_generation_length_of_sampling=4,
            lang_decoder_update=True,
        )
    )
    line = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()][0]
    assert line["reward"] == pytest.approx(line["reward ensemble"])
    assert line["reward"] != pytest.approx(line[f"reward {members[0]}"])
    assert line["reward ensemble_std"] > 0


def test_scales_of_some_members_alone_are_refused_and_of_none_are_told(members, measured, tmp_path, capsys):
    bare = tmp_path / "bare"
    shutil.copytree(members[0], bare)
    (bare / "score_scale.json").unlink()
    with pytest.raises(DataError, match=r"bare has no score_scale.json, and others have; measure each on"):
        scales_of([str(bare), members[1]])
    other = tmp_path / "other"
    shutil.copytree(bare, other)
    assert scales_of([str(bare), str(other)]) == [Scale(), Scale()]
    unscaled = SimpleNamespace(reward_ensemble="min", aspect_weights=[], ensemble_deviations=1.0)
    together(unscaled, dict.fromkeys([str(bare), str(other)]))
    assert "no member has a score_scale.json" in capsys.readouterr().out
    config = SimpleNamespace(reward_ensemble="")
    alone = each({"a": lambda *_: torch.ones(2)})
    assert together(config, {"a": alone}) == [alone]


COMMANDS = {
    train_ppo: (PPOConfig, {"output_dir": "out", "critic_init": "policy"}),
    train_online: (OnlineDPOConfig, {"output_dir": "out", "online": True}),
    predict: (PredictConfig, {"output_path": "out.jsonl"}),
    score_samples: (SampleScoreConfig, {"output_path": "out.jsonl"}),
    drift: (DriftConfig, {"output_path": "out.json", "reference": "nowhere"}),
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__module__)
def test_members_that_can_not_be_compared_are_told_before_anything_is_loaded(
    command, members, measured, tmp_path
):
    bare = shutil.copytree(members[0], tmp_path / "bare")
    (bare / "score_scale.json").unlink()
    kind, more = COMMANDS[command]
    more |= {"reward_model_ckpt_path": [str(bare), members[1]], "reward_ensemble": "min"}
    with pytest.raises(DataError, match="bare has no score_scale.json, and others have"):
        command(kind(from_checkpoint="nowhere", data_path="nowhere", **more))


GIVEN = {"from_checkpoint": "a", "data_path": "b", "output_path": "c"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reward_ensemble": "median"}, "--reward_ensemble median: unknown; expected mean, min, mean_std"),
        ({"reward_ensemble": "min"}, r"--reward_ensemble min: found 1 reward model\(s\), expected 2 or more"),
        (
            {"reward_ensemble": "min", "reward_model_ckpt_path": ["x", "y"], "reward_weights": [1.0, 2.0]},
            "its reward models have the weights 1 2; expected one for all",
        ),
        (
            {"reward_ensemble": "mean_std", "ensemble_deviations": -1.0},
            "--ensemble_deviations -1: expected 0 or more",
        ),
    ],
)
def test_settings_that_do_not_go_together_are_told(more, message):
    with pytest.raises(ConfigError, match=message):
        SampleScoreConfig(**{**GIVEN, "reward_model_ckpt_path": ["x"], **more})


def test_an_ensemble_has_one_weight_beside_other_rewards():
    config = SampleScoreConfig(
        **GIVEN,
        reward_model_ckpt_path=["x", "y"],
        reward_functions=["exact"],
        reward_weights=[0.5, 0.5, 2.0],
        reward_ensemble="mean",
    )
    assert config.weight_of_score == {"ensemble": 0.5, "exact": 2.0}
    assert replace(config, reward_ensemble="").weight_of_score == {"x": 0.5, "y": 0.5, "exact": 2.0}
    with pytest.raises(ConfigError, match="--ensemble_with and --reward_ensemble: expected both"):
        RewardScoreConfig(**GIVEN, ensemble_with=["x"])
    with pytest.raises(ConfigError, match="--ensemble_with a: is a member twice"):
        RewardScoreConfig(**GIVEN, ensemble_with=["x", "a"], reward_ensemble="min")
