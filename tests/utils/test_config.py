"""Flags: the original's command lines, wrong values, what is written down."""

import json

import pytest
import torch

from training.utils.config.arguments import parse_args
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, PredictConfig, RewardConfig, SFTConfig
from training.utils.run.identity import Identity
from training.utils.run.run_record import RunRecord

COMMON = (
    "--max_seq_len 2048 --data_train_split_ratio 0.9 --dataset_samples all --dataset_concatenate_samples 1 "
    "--max_num_image_per_sample 8 --lm_model_name_or_path none --vision_model_name_or_path none --vis_proj baseline "
    "--gradient_checkpointing --gradient_accumulation_steps 2 --zero_stage 2 --learning_rate 1e-6 "
    "--num_warmup_steps 0.1 --per_device_train_batch_size 4 --per_device_eval_batch_size 2 --deepspeed "
    "--output_dir out --lang_decoder_update --enable_mmca_attention --precision bf16 --from_checkpoint base "
    "--image_folder images --template llava --model_architecture llava --enable_tensorboard --seed 1234 "
    "--num_train_epochs 1 --local_rank 0 "
)
GIVEN = "--from_checkpoint a --data_path b --output_dir c"
ORIGINAL = {
    SFTConfig: COMMON + "--dataset_names llava_sft --data_path data/sft.json --eval_step 500 --is_sft_stage",
    RewardConfig: COMMON
    + "--dataset_names llava_reward --data_path train.json --eval_data_path test.json --ranked_candidate_num 2 "
    "--trained_reward_model none --lm_reward_model_name_or_path none --reward_base_model none --save_step 9900 "
    "--eval_step 200",
    DPOConfig: COMMON + "--dataset_names llava_reward --data_path r.json --ranked_candidate_num 2 --beta 0.2",
    PPOConfig: COMMON.replace("--zero_stage 2 ", "").replace("--learning_rate 1e-6 ", "")
    + "--dataset_names llava_ppo --data_path p.json --reward_model_ckpt_path rm --actor_zero_stage 2 "
    "--critic_zero_stage 3 --actor_learning_rate 1e-6 --critic_learning_rate 2e-5 --ppo_epochs 2 "
    "--skip_actor_model 30 --max_training_step 500 --save_step 500 --lm_reward_model_name_or_path none "
    "--vision_reward_model_name_or_path none --reward_base_model base --align_overflow "
    "--max_generation_length_of_sampling 512 --max_training_samples_num 10000",
    PredictConfig: "--data_path sqa.txt --image_folder images --from_checkpoint base --template llava "
    "--model_architecture llava --output_path out.res --topk 50 --topp 0.95 --max_new_tokens 1024 "
    "--num_return_sequences 1 --temperature 0.0 --do_sample --batch_size 1 --dataset_names llava_predict "
    "--precision bf16 --enable_mmca_attention --max_seq_len 2048 --lm_model_name_or_path none",
}


@pytest.mark.parametrize("config_class", ORIGINAL, ids=lambda c: c.__name__)
def test_the_originals_command_lines_are_accepted(config_class, capsys):
    config = parse_args(config_class, ORIGINAL[config_class].split())
    assert config.from_checkpoint == "base" and config.template == "llava"
    assert config.torch_dtype == torch.bfloat16
    told = capsys.readouterr().out
    assert "--dataset_names" in told and "has no effect: the format is read from the records" in told


@pytest.mark.parametrize(("given", "drawn"), [("3 3", 6), ("3 5", 8), ("all 3", None), ("all all", None)])
def test_a_number_of_samples_for_each_name_of_a_file_is_their_sum(given, drawn, capsys):
    flags = f"{GIVEN} --dataset_names a b --dataset_samples {given}"
    assert parse_args(SFTConfig, flags.split()).num_samples == drawn
    assert f"--dataset_samples {given}: {drawn or 'all'} of the records are drawn" in capsys.readouterr().out


def test_flags_mean_what_they_meant():
    config = parse_args(PPOConfig, ORIGINAL[PPOConfig].split())
    assert config.for_actor.learning_rate == 1e-6 and config.for_critic.learning_rate == 2e-5
    assert config.for_actor.zero_stage == 2 and config.for_critic.zero_stage == 3
    assert config.num_steps(steps_per_epoch=10_000) == 500 and config.num_steps(steps_per_epoch=20) == 20
    assert parse_args(DPOConfig, ORIGINAL[DPOConfig].split()).beta == 0.2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (GIVEN + " --learning_rte 1", "--learning_rte: unknown flag; did you mean --learning_rate?"),
        ("--data_path b --output_dir c", "--from_checkpoint: missing"),
        ("--from_checkpoint a --output_dir c", "--data_path: missing"),
        ("--from_checkpoint a --data_path b", "--output_dir: missing"),
        (GIVEN + " --precision int8", "--precision int8: unknown; expected auto"),
        (GIVEN + " --zero_stage 4", "--zero_stage 4: expected 0, 1, 2 or 3"),
        (GIVEN + " --dataset_samples few", "--dataset_samples few: expected a number"),
        (GIVEN + " --save_step 0", "--save_step 0: expected 1 or more"),
        (GIVEN + " --save_total_limit -1", "--save_total_limit -1: expected 0 or more"),
        (GIVEN + " --dataset_samples 3 few", "--dataset_samples 3 few: takes one value, found 2"),
        (GIVEN + " --learning_rate fast", "argument --learning_rate/--learning-rate: invalid float value: 'fast'"),
        (GIVEN + " --learning_rate", "argument --learning_rate/--learning-rate: expected one argument"),
        ("3 " + GIVEN, "3: belongs to no flag"),
        (GIVEN + " --trained_reward_model rm", "--trained_reward_model rm: this stage trains no reward model"),
        (GIVEN + " --sft_model_ckpt_path a", "--sft_model_ckpt_path a: is --from_checkpoint now; use that name"),
        ("--lm_model_name_or_path a --data_path b --output_dir c", "--vision_model_name_or_path: missing; a"),
    ],
)  # fmt: skip
def test_a_wrong_flag_ends_with_one_line_that_helps(flags, message, capsys):
    with pytest.raises(SystemExit) as exit:
        parse_args(SFTConfig, flags.split())
    assert exit.value.code == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told and told.count("\n") == 1


@pytest.mark.parametrize(
    ("config_class", "more", "message"),
    [
        (SFTConfig, "--packing --max_seq_len 4096", "expected at least --max_seq_len 4096 with --packing"),
        (PPOConfig, "--reward_model_ckpt_path rm", "not where responses are sampled, which have no length"),
        (
            DPOConfig,
            "--loss_type sigmoid kto",
            "not with --loss_type kto, whose KL is that of a micro-batch's",
        ),
    ],
)
def test_micro_batches_by_tokens_are_refused_where_they_can_not_be(config_class, more, message, capsys):
    with pytest.raises(SystemExit):
        parse_args(config_class, f"{GIVEN} --max_tokens_per_batch 300 {more}".split())
    assert message in capsys.readouterr().err


def test_a_loss_that_ranks_all_answers_is_not_left_with_two(capsys):
    for name in ("plackett_luce", "biased_ranking"):
        with pytest.raises(SystemExit):
            parse_args(DPOConfig, f"{GIVEN} --loss_type sft {name} --ranked_candidate_num 2".split())
        assert f"--loss_type {name}: ranks all answers of a prompt" in capsys.readouterr().err
        for number in (0, 3):
            parse_args(DPOConfig, f"{GIVEN} --loss_type {name} --ranked_candidate_num {number}".split())


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("--learning_rate 1e-6", "--learning_rate 1e-6: has no effect: set --actor_learning_rate and"),
        ("--learning-rate 1e-6", "--learning-rate 1e-6: has no effect: set --actor_learning_rate and"),
        ("--zero_stage 3", "--zero_stage 3: has no effect: set --actor_zero_stage and --critic_zero_stage"),
        ("--offload", "--offload: has no effect: set --offload_actor_model and --offload_critic_model"),
        ("--packing", "--packing: has no effect: sampled responses have a row for each prompt"),
    ],
)
def test_policy_optimisation_says_which_flags_of_one_model_it_does_not_read(given, told, capsys):
    rewarded = f"{GIVEN} --reward_model_ckpt_path rm"
    assert parse_args(PPOConfig, f"{rewarded} {given}".split()) == parse_args(PPOConfig, rewarded.split())
    assert told in capsys.readouterr().out
    with pytest.raises(SystemExit):
        parse_args(PPOConfig, ["--help"])
    shown = capsys.readouterr().out
    assert "--actor_learning_rate" in shown and given.split()[0].replace("-r", "_r") + " " not in shown


def test_one_reward_given_twice_is_one_line(capsys):
    with pytest.raises(SystemExit):
        parse_args(PPOConfig, [*GIVEN.split(), "--reward_model_ckpt_path", "m/rm", "m/rm/"])
    assert capsys.readouterr().err == (
        "error: m/rm: given as a reward twice; give it once, with a --reward_weights of 2\n"
    )


@pytest.mark.parametrize("nothing", ["none", "None", ""])
def test_a_flag_may_be_given_as_nothing(nothing):
    given = ["--from_checkpoint", "a", "--data_path", "b", "--output_dir", "c"]
    for name in ("eval_data_path", "image_folder", "trained_reward_model", "data_debug_path", "report_to"):
        given += [f"--{name}", nothing]
    config = parse_args(RewardConfig, given)
    assert config == RewardConfig(from_checkpoint="a", data_path="b", output_dir="c")


def test_a_model_is_built_from_parts_only_where_no_checkpoint_is_named(capsys):
    parts = (
        "--lm_model_name_or_path l --vision_model_name_or_path v --vis_proj vit --data_path b --output_dir c"
    )
    built = parse_args(SFTConfig, f"{parts} --from_checkpoint none".split())
    assert built.builds_model and built.from_checkpoint == "c/assembled" and built.vis_proj == "vit"
    assert capsys.readouterr().out == ""
    for whole in ("None", "none"):
        text = parts.replace("_path l", f"_path {whole}").replace("_path v", f"_path {whole}")
        assert not parse_args(SFTConfig, f"{text} --from_checkpoint a".split()).builds_model
    loaded = parse_args(SFTConfig, f"{parts} --from_checkpoint a".split())
    assert not loaded.builds_model and loaded.from_checkpoint == "a"
    told = capsys.readouterr().out
    assert "--lm_model_name_or_path l: has no effect: --from_checkpoint holds the language model" in told
    assert "--vis_proj vit: has no effect: --from_checkpoint holds the projector" in told


def test_a_reward_model_to_train_on_takes_the_place_of_the_base():
    config = parse_args(RewardConfig, [*GIVEN.split(), "--trained_reward_model", "rm"])
    assert config.from_checkpoint == "rm"


def test_what_was_resolved_is_written_down(tmp_path):
    config = parse_args(DPOConfig, ["--from_checkpoint", "a", "--data_path", "b", "--output_dir", "c"])
    record = RunRecord.of(config, Identity({}, {}))
    record.start(config)
    record.write(tmp_path / "args.json")
    written = json.loads((tmp_path / "args.json").read_text())
    assert written["arguments"]["beta"] == 0.1 and written["arguments"]["seed"] == 1234
    assert written["starts"][0]["versions"]["torch"] and written["starts"][0]["command"]


@pytest.mark.parametrize(
    "config_class, more", [(PPOConfig, {"reward_functions": ["length"]}), (PredictConfig, {})]
)
def test_an_engine_that_is_not_installed_is_told_before_anything_is_loaded(config_class, more, monkeypatch):
    monkeypatch.setattr("training.utils.config.rollout_config.find_spec", lambda name: None)
    output = (
        {"output_path": "c"}
        if config_class is PredictConfig
        else {"output_dir": "c", "critic_init": "policy"}
    )
    given = {"from_checkpoint": "a", "data_path": "b", **output, **more}
    config_class(**given)
    with pytest.raises(ConfigError, match="no vLLM in this environment; `source scripts/setup_vllm.sh`"):
        config_class(**given, rollout_engine="vllm")
