"""Memory plans: parameter counts of the published models, and what a stage really trains."""

import json
import re
from dataclasses import replace

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from scripts.memory_plan.activations import of_sampling
from scripts.memory_plan.config import GIB, PlanConfig
from scripts.memory_plan.fit import SPARE, fastest, memory_of, settings, slowness
from scripts.memory_plan.parameters import build_on_meta, count
from scripts.memory_plan.plan import held, on_cpu, peak, plan, text_config
from scripts.memory_plan.trial import SMALL, Trial, shrunk
from scripts.plan_memory import main
from tests.conftest import ROOT
from tests.tiny_families import BUILDERS, build_tiny
from training.utils.config.arguments import parse_args
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import SFTConfig
from training.utils.data.record import DataError
from training.utils.engine.zero import bucket_sizes, deepspeed_config
from training.utils.model.build_model import build_policy, build_value_model, get_family

PUBLISHED = sorted((ROOT / "tests" / "published").glob("*.json"))
PARTS = {"llama": AutoModelForCausalLM, "clip_vision_model": AutoModel}  # of models from scratch


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: file.stem)
def test_a_published_config_gives_the_published_number_of_parameters(file, tmp_path):
    fact = json.loads(file.read_text())
    (tmp_path / "config.json").write_text(json.dumps(fact["config"]))
    model_type = fact["config"]["model_type"]
    if model_type in PARTS:
        with torch.device("meta"):
            model = PARTS[model_type].from_config(AutoConfig.from_pretrained(tmp_path))
        assert model.num_parameters() == fact["parameters"]
        return
    parameters = count(
        build_on_meta(tmp_path), get_family("auto", tmp_path), PlanConfig(from_checkpoint=""), True
    )
    assert parameters.total == fact["parameters"]


@pytest.mark.parametrize("settings", [{}, {"vis_encoder_update": True}, {"lang_lora_dim": 2}], ids=str)
@pytest.mark.parametrize("name", [name for name in BUILDERS if ":" not in name])
def test_what_is_planned_to_be_trained_is_what_a_stage_trains(name, settings, tmp_path):
    folder = build_tiny(name, tmp_path / "model")
    family = get_family("auto", folder)
    config = SFTConfig(
        from_checkpoint=str(folder), data_path="x", output_dir="x", lang_decoder_update=True, **settings
    )
    for build, has_lm_head in ((build_policy, True), (build_value_model, False)):
        planned = count(
            build_on_meta(folder), family, PlanConfig(from_checkpoint="", **settings), has_lm_head
        )
        built = build(config, folder, family)
        head = sum(p.numel() for p in built.v_head.parameters()) if hasattr(built, "v_head") else 0
        assert planned.trained == sum(p.numel() for p in built.parameters() if p.requires_grad) - head


def test_zero_stages_share_out_what_they_should(tmp_path):
    file = next(file for file in PUBLISHED if file.stem == "llava-1.5-7b-hf")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(file.read_text())["config"]))

    def policy(zero_stage, **more):
        config = PlanConfig(from_checkpoint=str(tmp_path), zero_stage=zero_stage, num_gpus=4, **more)
        planned = plan(config)[0]
        memory = planned.engine
        return [
            size / planned.parameters.trained for size in (memory.weights, memory.gradients, memory.optimizer)
        ]

    tower = 2 * 303_507_456 / 6_759_919_616  # bf16, whole on each GPU
    for zero_stage, expected in enumerate(([2, 2, 12], [2, 4, 3], [2, 1, 3], [0.5, 1, 3])):
        assert policy(zero_stage) == pytest.approx([expected[0] + tower, *expected[1:]])
    for zero_stage, gradients in enumerate((2, 2, 0.5, 0.5)):
        assert policy(zero_stage, grad_accum_dtype="bf16")[1] == pytest.approx(gradients)
    # DeepSpeed's ZeRO-3 keeps the sums of gradients beside an optimizer state that is in CPU memory.
    assert policy(3, offload=True, offload_params=True) == pytest.approx([tower, 0, 0])


def test_an_output_folder_is_planned_as_its_newest_model(tiny_llava, tmp_path):
    (tmp_path / "epoch-1").symlink_to(tiny_llava)
    (tmp_path / "latest").write_text("epoch-1")
    assert plan(PlanConfig(from_checkpoint=str(tmp_path))) == plan(
        PlanConfig(from_checkpoint=str(tiny_llava))
    )


@pytest.fixture
def llava_7b(tmp_path):
    file = next(file for file in PUBLISHED if file.stem == "llava-1.5-7b-hf")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(file.read_text())["config"]))
    return str(tmp_path)


def test_buckets_are_those_of_the_models_width():
    """The rule of transformers' `auto`: hidden size squared, nine tenths of it, and ten times the hidden size."""
    expected = {"reduce_bucket_size": 4096**2, "allgather_bucket_size": 4096**2}
    expected |= {"stage3_prefetch_bucket_size": 15_099_494, "stage3_param_persistence_threshold": 40_960}
    assert bucket_sizes(4096) == expected
    config = SFTConfig(from_checkpoint="x", data_path="x", output_dir="x", zero_stage=2)
    assert expected.items() <= deepspeed_config(config, 4096)["zero_optimization"].items()
    assert bucket_sizes(48)["reduce_bucket_size"] == 2**20


def test_idle_models_are_there_one_at_a_time(llava_7b):
    """All rest: the shared tower alone is there all the time, and PPO takes as much as its largest model does in a
    stage of its own, SFT of the policy, or as sampling."""
    config = PlanConfig(llava_7b, stage="ppo", num_gpus=8)
    resting = replace(config, offload_idle_models=True)
    assert held(resting) == 2 * 303_507_456
    for zero_stage in range(4):
        alone = peak(replace(config, stage="sft", zero_stage=zero_stage))
        assert peak(replace(resting, zero_stage=zero_stage)) == alone
    short = replace(resting, num_gpus=64, prompt_len=6000, gradient_accumulation_steps=8)
    weights = plan(short)[0].engine.weights
    assert peak(short) == weights + of_sampling(text_config(llava_7b), short)


def test_the_fastest_settings_that_fit_are_chosen(llava_7b):
    config = PlanConfig(llava_7b, stage="dpo", num_gpus=8)
    found = fastest(config, 80 * GIB)
    assert found.peak <= SPARE * 80 * GIB and found.peak == peak(found.config)
    for other in settings(config):
        if slowness(other, 4) < slowness(found.config, 4):
            assert peak(other) > SPARE * 80 * GIB
    tight = fastest(config, 24 * GIB)
    assert tight.peak <= SPARE * 24 * GIB and slowness(tight.config, 4) > slowness(found.config, 4)
    assert tight.config.lang_lora_dim == 0


def test_what_is_printed_can_be_pasted_and_takes_what_was_said(llava_7b, capsys):
    main(PlanConfig(llava_7b, stage="ppo", fit="80GB", num_gpus=8))
    lines = capsys.readouterr().out.splitlines()
    pasted = [line.strip().removesuffix("\\").split() for line in lines if line.startswith("  --")]
    needed = ["--from_checkpoint", "x", "--data_path", "x", "--output_dir", "x", "--reward_functions", "a:b"]
    needed += ["--critic_init", "policy"]
    run = parse_args(PPOConfig, [*needed, *(part for parts in pasted for part in parts)])
    said = re.search(r"^([0-9.]+) GiB on each of 8 GPUs", "\n".join(lines), re.MULTILINE)
    names = ("per_device_train_batch_size", "gradient_checkpointing", "offload_params", "offload_activations")
    plan_of_run = {name: getattr(run, name) for name in (*names, "offload_idle_models")}
    plan_of_run |= {"zero_stage": run.actor_zero_stage, "offload": run.offload_actor_model}
    assert run.actor_zero_stage == run.critic_zero_stage
    taken = peak(PlanConfig(llava_7b, stage="ppo", num_gpus=8, **plan_of_run)) / GIB
    assert taken == pytest.approx(float(said[1]), abs=0.05) and taken <= 72


def test_where_nothing_fits_it_is_said_with_what_would(llava_7b, capsys):
    main(PlanConfig(llava_7b, stage="ppo", fit="24GB", num_gpus=1, cpu_memory="64GB"))
    said = capsys.readouterr().out
    assert said.startswith(
        "nothing fits: no settings of ppo take 21.6 GiB or less on each of 1 GPUs and 64GB of CPU memory for each; "
        "what would:"
    )
    assert re.search(r"^- \d+ GPUs: --per_device", said, re.MULTILINE)
    assert re.search(r"^- adapters in place .* --lang_lora_dim 64$", said, re.MULTILINE)
    assert re.search(r"^- a GPU of \d+ GB: ", said, re.MULTILINE)


def test_cpu_memory_that_offloading_takes_is_told_and_may_be_bounded(llava_7b, capsys):
    """16 bytes of each trained weight: a master copy, two moments and a sum of gradients, all in fp32; 2 of each
    weight but the tower's."""
    actor, critic = 6_759_919_616, 6_628_585_472
    config = PlanConfig(llava_7b, stage="ppo", num_gpus=1, zero_stage=3, offload=True, offload_params=True)
    assert on_cpu(config) == 16 * (actor + critic) + 2 * 2 * (actor + critic)
    assert on_cpu(replace(config, num_gpus=4)) == on_cpu(config) / 4
    resting = PlanConfig(llava_7b, stage="ppo", num_gpus=1, zero_stage=2, offload_idle_models=True)
    # A reference and a reward model, and with actor and critic a master copy and two moments.
    assert on_cpu(resting) == 2 * 2 * (actor + critic) + 12 * (actor + critic)
    main(replace(config, fit="24GB"))
    assert "all the time, and 249.4 GiB of CPU memory for each" in capsys.readouterr().out
    main(replace(config, fit="80GB", num_gpus=8, cpu_memory="1GB"))
    assert "CPU memory" not in capsys.readouterr().out


def test_a_step_keeps_its_records_and_ppo_samples_all_of_them_at_once(llava_7b):
    config = PlanConfig(llava_7b, stage="ppo", per_device_train_batch_size=6, gradient_accumulation_steps=2)
    batches = {(e.per_device_train_batch_size, e.gradient_accumulation_steps) for e in settings(config)}
    assert batches == {(6, 2), (3, 4), (2, 6), (1, 12)}
    text = text_config(llava_7b)
    # Keys and values of 32 layers of 4,096 numbers in 16 bits; logits of two samples over 32,064 words, fp64 thrice.
    prompt = 1152 * 2 * 32 * 4096 * 2 + 2 * 32_064 * 24
    assert of_sampling(text, config) == 12 * prompt
    assert of_sampling(text, replace(config, rollout_batch_size=5)) == 5 * prompt


@pytest.mark.parametrize("name", ["num_gpus", "per_device_train_batch_size", "prompt_len", "num_responses"])
def test_sizes_are_at_least_one(name):
    with pytest.raises(ConfigError, match=f"--{name} 0: expected 1 or more"):
        PlanConfig("x", **{name: 0})


def test_a_model_that_reads_no_pictures_is_refused(tmp_path):
    file = next(file for file in PUBLISHED if file.stem == "Llama-2-70b")
    (tmp_path / "config.json").write_text(json.dumps(json.loads(file.read_text())["config"]))
    with pytest.raises(
        DataError, match="is a llama, which reads no pictures; expected a vision-language model"
    ):
        plan(PlanConfig(str(tmp_path)))


@pytest.mark.parametrize("value", ["", "0GB", "24 apples"])
def test_memory_is_given_in_gigabytes(value):
    if not value:
        assert memory_of("24GB") == memory_of("24") == memory_of("24 GiB") == 24 * GIB
        return
    with pytest.raises(ConfigError, match="expected the memory of a GPU, such as 24GB"):
        memory_of(value)


@pytest.mark.parametrize(
    ("family", "stage", "settings"),
    [
        ("llava", "dpo", {"zero_stage": 0}),
        ("qwen2.5-vl", "ppo", {"zero_stage": 2, "num_responses": 1}),
        ("llava", "ppo", {"zero_stage": 2, "precision": "bf16", "offload_idle_models": True}),
    ],
)
def test_what_is_predicted_is_what_a_run_takes(family, stage, settings):
    """Bytes of tensors that are alive at once, in two steps of the product's own code on a CPU."""
    sizes = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 2}
    small = shrunk(SMALL[family], num_attention_heads=4, num_key_value_heads=4, **sizes)
    plan_ = {"stage": stage, "precision": "fp32", "per_device_train_batch_size": 1} | settings
    plan_ |= {"gradient_accumulation_steps": 1, "prompt_len": 80, "response_len": 8}
    with Trial(small, plan_) as trial:
        assert peak(trial.config) == pytest.approx(trial.peak(), rel=0.15)
