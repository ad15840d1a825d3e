"""PPO whose models rest in CPU memory while others work."""

import hashlib
import json

import pytest
import torch

from scripts.storm.cases import TIMES
from tests.stages import conftest as stages
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.engine.rest import Rest

# In the order in which they come to be.
RESTS = [
    "reference",
    "reward",
    "critic before it trains",
    "actor",
    "actor's steps",
    "critic",
    "critic's steps",
]
LORA = {"lang_lora_dim": 2, "lang_decoder_update": False}


def log(output):
    return [{k: v for k, v in line.items() if not k.endswith(TIMES)} for line in stages.log(output)]


def run(tiny_llava, taste, output, **more):
    ppo = {"reward_model_ckpt_path": [str(taste)], "max_generation_length_of_sampling": 3, "max_steps": 2}
    ppo |= {"actor_learning_rate": 1e-2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    torch.manual_seed(0)
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", output, **ppo | more)))
    return log(output)


def digests(folder):
    """Of all files with tensors."""
    files = sorted(folder.rglob("*.safetensors"))
    return {f.relative_to(folder): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def watch_rests(monkeypatch, names):
    """The names of what comes to the device, in order, and their bytes. Whoever is away has no memory.

    Args:
        names: of what rests, in the order in which it comes to be.
    """
    made, came, sizes = [], [], {}

    class Watched(Rest):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            made.append(self)

        def arrive(self):
            assert not any(storage.nbytes() for storage, _ in self.away)
            name = names[made.index(self)]
            came.append(name)
            sizes[name] = sum(len(part) for _, copy in self.away for part in copy)
            super().arrive()
            # The engine of a critic may not be made yet.
            there = {name for name, rest in zip(names, made, strict=False) if rest.works} - {RESTS[2]}
            assert len({name.split("'")[0] for name in there}) <= 1, there

    monkeypatch.setattr("training.utils.engine.offload.Rest", Watched)
    return came, sizes


@pytest.fixture
def coming(monkeypatch):
    return watch_rests(monkeypatch, RESTS)


@pytest.mark.parametrize(
    "zero_stage, more",
    [
        (0, {"precision": "fp32"}),
        (2, {"stop_at_kl": 1e-9, "num_minibatches": 2}),
        (2, LORA),
        (3, {"ppo_epochs": 2}),
    ],
    ids=str,
)
def test_a_run_is_the_same_and_each_model_is_alone_on_the_device(
    zero_stage, more, tiny_llava, taste, tmp_path, coming
):
    came, sizes = coming
    more = {"actor_zero_stage": zero_stage, "critic_zero_stage": zero_stage, "precision": "bf16"} | more
    expected = run(tiny_llava, taste, tmp_path / "all", **more)
    assert not came
    assert run(tiny_llava, taste, tmp_path / "idle", offload_idle_models=True, **more) == expected
    assert digests(tmp_path / "idle") == digests(tmp_path / "all")

    sampling, observing = ["actor", "reward"], ["actor", "reference", "critic"]
    moving = ["actor", "actor's steps", "critic", "critic's steps"]
    step, saving = (
        [*sampling, *observing, *moving],
        [*moving, *moving, "actor"] if "num_minibatches" in more else [],
    )
    looking = ["actor", "actor"]  # it answers some prompts, then sees whether their pictures matter
    saved = "actor"  # alone at last, for its files
    assert came == ["critic before it trains", *step, *saving, *step, *looking, saved]
    if more["precision"] == "bf16" and "lang_lora_dim" not in more:
        for model in ("actor", "critic"):  # a master and two moments in fp32
            assert sizes[f"{model}'s steps"] >= 6 * sizes[model] > 0


@pytest.mark.dist
def test_two_processes_do_the_same_and_go_on_from_a_checkpoint(tiny_llava, taste, tmp_path):
    def flags(name, zero_stage, *more):
        given = ["--actor_zero_stage", zero_stage, "--critic_zero_stage", zero_stage, "--precision", "bf16"]
        given += [
            "--reward_model_ckpt_path",
            taste,
            "--max_steps",
            2,
            "--save_step",
            1,
            "--num_generations",
            1,
        ]
        given += ["--per_device_train_batch_size", 2, "--actor_learning_rate", 1e-2, *more]
        return "ppo", stages.command("ppo", tiny_llava, tmp_path / name, *given)[2:]

    runs = []
    for zero_stage in range(4):
        runs.append(flags(f"all{zero_stage}", zero_stage))
        runs.append(flags(f"idle{zero_stage}", zero_stage, "--offload_idle_models"))
        again = ["--resume", tmp_path / f"idle{zero_stage}" / "checkpoint-1", "--offload_idle_models"]
        runs.append(flags(f"again{zero_stage}", zero_stage, *again))
    (tmp_path / "runs.json").write_text(json.dumps({"2": runs}))
    stages.run(["-m", "tests.stages.runs", str(tmp_path / "runs.json")])
    for zero_stage in range(4):
        expected, found, again = (tmp_path / f"{name}{zero_stage}" for name in ("all", "idle", "again"))
        assert log(found) == log(expected) and log(again) == log(expected)[1:]
        assert digests(found) == digests(expected)


def test_it_is_refused_where_no_model_is_of_its_own(tiny_llava, taste, tmp_path):
    more = {"share_backbone": True, "lang_lora_dim": 2}
    with pytest.raises(ConfigError, match="--offload_idle_models: not with --share_backbone"):
        run(tiny_llava, taste, tmp_path, offload_idle_models=True, **more)
