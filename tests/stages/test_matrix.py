"""Every family through every stage: prompts with one picture, with several, with none, alone and in one batch.

`pytest_terminal_summary` in conftest.py prints the table of what passed.
"""

import json

import pytest
import torch

from eval.predict import main as predict
from tests.conftest import picture
from tests.tiny_families import BUILDERS, build_tiny
from training.dpo.train_dpo import main as train_dpo
from training.ppo.train_ppo import main as train_ppo
from training.reward_model.train_rm import main as train_rm
from training.sft.train_sft import main as train_sft
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, PredictConfig, RewardConfig, SFTConfig

from tests.stages.conftest import log, weights  # isort: skip

# Human turns and pictures of four samples.
PROMPTS = [
    (["<image>\nWhat is this?"], [0]),
    (["<image>\n<image>\nAnd these?", "What of <image> this?"], [1, 2, 3]),
    (["How are you?"], []),
    (["Tell me what you see."], [4]),
]
SIZES = [(40, 30), (64, 64), (30, 70), (33, 33), (64, 32)]
TRAINERS = {"sft": (train_sft, SFTConfig), "rm": (train_rm, RewardConfig), "dpo": (train_dpo, DPOConfig)}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    for number, size in enumerate(SIZES):
        picture(number, size).save(folder / f"{number}.png")

    def write(name, answers):
        records = []
        for number, (questions, pictures) in enumerate(PROMPTS):
            turns = []
            for place, question in enumerate(questions):
                is_last = place == len(questions) - 1
                turns.append({"from": "human", "value": question})
                turns.append({"from": "gpt", "value": answers(number) if is_last else "A star."})
            images = [f"{n}.png" for n in pictures] or None
            records.append({"id": f"r{number}", "image": images, "conversations": turns})
        (folder / name).write_text(json.dumps(records))
        return str(folder / name)

    return {
        "sft": write("sft.json", lambda number: f"Answer {number}."),
        "ranked": write("ranked.json", lambda number: [f"Answer {number}.", f"No {number}!"]),
    }


@pytest.fixture(scope="module", params=list(BUILDERS))
def checkpoint(request, tmp_path_factory):
    name = request.param
    family = name.partition(":")[0]
    return family, str(build_tiny(name, tmp_path_factory.mktemp("matrix-model") / name.replace(":", "-")))


def settings(checkpoint, data_path, output, **more):
    family, folder = checkpoint
    shared = {
        "model_architecture": family,
        "from_checkpoint": folder,
        "data_path": data_path,
        "output_dir": str(output),
        "max_seq_len": 512,
        "data_train_split_ratio": 1.0,
        "per_device_train_batch_size": 4,
        "max_steps": 12,
        "learning_rate": 5e-3,
        "lang_decoder_update": True,
        "save_step": 1000,
    }
    return shared | more


@pytest.mark.parametrize("stage", TRAINERS)
def test_a_stage_learns_four_samples_and_is_the_same_for_each_of_them_alone(
    stage, checkpoint, data, tmp_path
):
    train, config_class = TRAINERS[stage]
    path = data["sft" if stage == "sft" else "ranked"]
    torch.manual_seed(0)  # a new value head is random
    train(config_class(**settings(checkpoint, path, tmp_path / "mixed")))
    torch.manual_seed(0)
    alone = {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 4, "max_steps": 2}
    train(config_class(**settings(checkpoint, path, tmp_path / "alone", **alone, num_warmup_steps=0)))
    mixed, one_by_one = log(tmp_path / "mixed"), log(tmp_path / "alone")
    assert mixed[-1]["loss"] < 0.7 * mixed[0]["loss"]
    assert one_by_one[0]["loss"] == pytest.approx(mixed[0]["loss"], rel=1e-4)
    assert one_by_one[0]["grad_norm"] == pytest.approx(mixed[0]["grad_norm"], rel=1e-3)


def test_ppo_moves_the_policy_and_best_of_n_answers_every_prompt(checkpoint, data, tmp_path):
    train_rm(RewardConfig(**settings(checkpoint, data["ranked"], tmp_path / "rm", max_steps=1)))
    ppo = {"reward_model_ckpt_path": [str(tmp_path / "rm")], "max_generation_length_of_sampling": 5}
    ppo |= {"num_generations": 2, "actor_learning_rate": 1e-2, "max_steps": 2}
    train_ppo(PPOConfig(**settings(checkpoint, data["sft"], tmp_path / "ppo", **ppo)))
    assert [line["step"] for line in log(tmp_path / "ppo")] == [1, 2]
    before, after = weights(tmp_path / "rm"), weights(tmp_path / "ppo")
    moved = [
        name for name, tensor in after.items() if name in before and not torch.equal(tensor, before[name])
    ]
    assert moved and all(torch.isfinite(tensor).all() for tensor in after.values())

    family, _ = checkpoint
    predict(
        PredictConfig(
            model_architecture=family,
            from_checkpoint=str(tmp_path / "ppo"),
            data_path=data["sft"],
            output_path=str(tmp_path / "answers.jsonl"),
            max_seq_len=512,
            max_new_tokens=5,
            num_return_sequences=2,
            temperature=1.0,
            reward_model_ckpt_path=[str(tmp_path / "rm")],
        )
    )
    lines = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ["r0", "r1", "r2", "r3"]
    assert all(len(line["scores"]) == 2 for line in lines)
