"""The seven command lines of Vision-LLM-Alignment, with the flags that its scripts pass."""

import json
import math
import shutil

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from eval import predict
from eval.score import ScoreConfig, report
from tests import tiny_families
from tests.tiny_families import build_tiny, write_parts
from training.dpo import train_dpo
from training.ppo import train_ppo
from training.reward_model import score, train_rm
from training.sft import train_sft
from training.utils.config.arguments import parse_args
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.config.stage_config import (
    DPOConfig,
    PredictConfig,
    RewardConfig,
    SFTConfig,
)
from training.utils.data.record import DataError
from training.utils.files.model_folder import write_extras
from training.utils.loop.prepare import build_encoder, load_ranked

FILES = "--data_path DATA --image_folder IMAGES --template {} --dataset_names llava_{} --dataset_samples all "
FILES += "--dataset_concatenate_samples 1 "
TRAIN = "--max_num_image_per_sample 8 --gradient_checkpointing --vis_proj baseline --num_warmup_steps 0.1 "
TRAIN += "--deepspeed --output_dir OUT --enable_mmca_attention --precision bf16 --local_rank 0 "
PARTS = "--lm_model_name_or_path llama-3-8b-Instruct --vision_model_name_or_path clip-vit-large-patch14 "
SAMPLING = "--do_sample --topk 50 --topp 0.95 --max_new_tokens {} --num_return_sequences 1 --temperature {} "
# What only evaluation has in the original, and does nothing there either.
IDLE = (
    "--data_debug_path debug --per_device_train_batch_size 1 --enable_tensorboard --gradient_checkpointing "
)
IDLE += "--vis_encoder_update --lang_decoder_update --max_num_image_per_sample 1 --seed 1234 "
COMMANDS = {
    "run_pre_training.sh": (
        SFTConfig,
        f"{FILES.format('llama_3', 'sft')}{TRAIN}{PARTS} --max_seq_len 2048 --data_train_split_ratio 0.9 "
        "--model_architecture default --eval_step 500 --gradient_accumulation_steps 1 --zero_stage 2 "
        "--learning_rate 2e-3 --per_device_train_batch_size 16 --per_device_eval_batch_size 16 --num_train_epochs 3",
    ),
    "run_sft.sh": (
        SFTConfig,
        f"{FILES.format('llama_3', 'sft')}{TRAIN}{PARTS} --max_seq_len 2048 --data_train_split_ratio 0.9 "
        "--model_architecture default --eval_step 500 --gradient_accumulation_steps 8 --zero_stage 2 "
        "--learning_rate 2e-3 --per_device_train_batch_size 1 --per_device_eval_batch_size 2 --num_train_epochs 3 "
        "--lang_decoder_update",
    ),
    "run_rm_training.sh": (
        RewardConfig,
        f"{FILES.format('llama-3.2-vision', 'reward')}{TRAIN} --max_seq_len 2048 --eval_data_path TEST "
        "--from_checkpoint MODEL --model_architecture llama-3.2-vision --lm_reward_model_name_or_path none "
        "--vision_reward_model_name_or_path none --gradient_accumulation_steps 2 --zero_stage 3 --learning_rate 1e-6 "
        "--per_device_train_batch_size 1 --per_device_eval_batch_size 8 --num_train_epochs 1 --lang_decoder_update "
        "--ranked_candidate_num 2 --trained_reward_model none --eval_step 200 --save_step 9900",
    ),
    "rm_eval.py": (
        RewardScoreConfig,
        f"{FILES.format('llava', 'reward_eval')}{IDLE}{SAMPLING.format(384, 0.75)} --max_seq_len 2048 "
        "--from_checkpoint BASE --trained_reward_model MODEL --output_path OUT/rm.res --batch_size 1 "
        "--model_architecture llava --reward_model_architecture llava --reward_base_model BASE "
        "--lm_reward_model_name_or_path none --vision_reward_model_name_or_path none --enable_mmca_attention "
        "--vis_proj baseline --precision bf16 --lang_lora_dim 0 --vis_lora_dim 0",
    ),
    "run_dpo_training.sh": (
        DPOConfig,
        f"{FILES.format('llava', 'reward')}{TRAIN} --max_seq_len 256 --lm_model_name_or_path none "
        "--vision_model_name_or_path none --from_checkpoint MODEL --model_architecture llava "
        "--gradient_accumulation_steps 2 --zero_stage 2 --learning_rate 1e-6 --per_device_train_batch_size 4 "
        "--num_train_epochs 1 --lang_decoder_update --ranked_candidate_num 2",
    ),
    "run_ppo_training.sh": (
        PPOConfig,
        f"{FILES.format('llava', 'ppo')}{TRAIN} --max_seq_len 2048 --data_train_split_ratio 0.999 "
        "--lm_model_name_or_path None --vision_model_name_or_path None --lm_reward_model_name_or_path None "
        "--vision_reward_model_name_or_path None --from_checkpoint MODEL --reward_base_model MODEL "
        "--reward_model_ckpt_path RM --model_architecture llava --gradient_accumulation_steps 2 "
        "--actor_zero_stage 2 --critic_zero_stage 3 --actor_learning_rate 1e-6 --critic_learning_rate 2e-5 "
        "--per_device_train_batch_size 2 --per_device_eval_batch_size 2 --num_train_epochs 1 --ppo_epochs 2 "
        "--lang_decoder_update --max_generation_length_of_sampling 512 --skip_actor_model 30 "
        "--max_training_step 500 --save_step 500 --eval_step 9999",
    ),
    "run_predict.sh": (
        PredictConfig,
        f"{FILES.format('llava', 'predict')}{IDLE}{SAMPLING.format(1024, 0.0)} --max_seq_len 2048 --precision bf16 "
        "--enable_mmca_attention --from_checkpoint MODEL --model_architecture llava --lm_model_name_or_path none "
        "--vision_model_name_or_path none --batch_size 1 --output_path OUT/sciqa_with_image.res",
    ),
}


PLACES = {name: "PARTS" if PARTS in flags else "MODEL" for name, (_, flags) in COMMANDS.items()}


def parsed(name, **paths):
    config_class, flags = COMMANDS[name]
    return parse_args(config_class, [str(paths.get(flag, flag)) for flag in flags.split()])


@pytest.mark.parametrize("name", COMMANDS)
def test_it_is_accepted_and_every_flag_without_meaning_says_so(name, capsys):
    config = parsed(name)
    told = capsys.readouterr().out.splitlines()
    assert all(" has no effect: " in line for line in told) and len(told) >= 2
    assert (
        config.data_path == "DATA"
        and config.image_folder == "IMAGES"
        and config.torch_dtype == torch.bfloat16
    )
    expected = {"run_pre_training.sh": "OUT/assembled", "run_sft.sh": "OUT/assembled"}.get(name, "MODEL")
    assert config.from_checkpoint == expected
    if "lang_decoder_update" in vars(config):
        assert config.lang_decoder_update == (name != "run_pre_training.sh")


@pytest.fixture
def pairs(tmp_path):
    """Pairs of answers to two pictures, of different lengths, in the original's form."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "a.jpg")
    records = [
        {
            "id": name,
            "image": "a.jpg",
            "conversations": [
                {"from": "human", "value": "<image>\n" + "What is this? " * times},
                {"from": "gpt", "value": ["A red picture.", "I do not know, or do I?"]},
            ],
        }
        for name, times in (("q1", 20), ("q2", 60), ("q3", 1))
    ]
    (tmp_path / "pairs.json").write_text(json.dumps(records))
    return tmp_path


@pytest.fixture
def short(pairs):
    """As `pairs`, short enough for the DPO script's 256 tokens; and with one answer each."""
    records = json.loads((pairs / "pairs.json").read_text())
    for number, record in enumerate(records):
        record["conversations"][0]["value"] = f"<image>\nWhat is picture {number}?"
    (pairs / "ranked.json").write_text(json.dumps(records))
    for record in records:
        record["conversations"][1]["value"] = record["conversations"][1]["value"][0]
    (pairs / "answers.json").write_text(json.dumps(records))
    return pairs


LLAMA_3 = {  # what its templates are written with
    "end": "<|eot_id|>",
    "header": "<|start_header_id|>",
    "header_end": "<|end_header_id|>",
    "begin": "<|begin_of_text|>",
}
# What makes them tiny, and in fp32, where a small step shows: of a flag that stands twice the last counts.
FEW = "--precision fp32 --max_steps 2 --per_device_train_batch_size 1 --gradient_accumulation_steps 1"
FEW_SAMPLES = (
    "--precision fp32 --max_training_step 2 --max_generation_length_of_sampling 4 --skip_actor_model 0"
)
STAGES = {
    "run_pre_training.sh": (train_sft, "answers.json", FEW),
    "run_sft.sh": (train_sft, "answers.json", FEW),
    "run_rm_training.sh": (train_rm, "ranked.json", FEW),
    "run_dpo_training.sh": (train_dpo, "ranked.json", FEW),
    "run_ppo_training.sh": (train_ppo, "answers.json", FEW_SAMPLES),
}


@pytest.mark.parametrize("name", STAGES)
def test_a_training_line_trains(name, short, tiny_llava, tmp_path, monkeypatch):
    """On tiny models of the named architectures: the line itself, its weights move, its figures are numbers."""
    stage, data, few = STAGES[name]
    build_tokenizer = tiny_families.build_tokenizer
    monkeypatch.setattr(
        tiny_families, "build_tokenizer", lambda at, more: build_tokenizer(at, LLAMA_3 | more)
    )
    model = build_tiny("llama-3.2-vision", tmp_path) if name == "run_rm_training.sh" else tiny_llava
    lm, clip = write_parts(tmp_path) if "PARTS" in PLACES[name] else ("", "")
    paths = {
        "DATA": short / data,
        "TEST": short / data,
        "IMAGES": short,
        "OUT": tmp_path / "out",
        "MODEL": model,
        "RM": tmp_path / "rm",
        "llama-3-8b-Instruct": lm,
        "clip-vit-large-patch14": clip,
    }
    if name == "run_ppo_training.sh":
        shutil.copytree(tiny_llava, tmp_path / "rm")
        write_extras(tmp_path / "rm", {"weight": torch.randn(1, 48)}, {"template": "llava"})
    config_class, flags = COMMANDS[name]
    given = [str(paths.get(flag, flag)) for flag in f"{flags} {few}".split()]
    stage.main(parse_args(config_class, given))
    out = tmp_path / "out"
    steps = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    losses = [value for step in steps for figure, value in step.items() if figure.endswith("loss")]
    assert len(losses) >= 2 and all(map(math.isfinite, losses))
    before = out / "assembled" if "PARTS" in PLACES[name] else model
    old, new = (
        AutoModelForImageTextToText.from_pretrained(folder).state_dict()
        for folder in (before, out / (out / "latest").read_text().strip())
    )
    moved = {key for key in new if not torch.equal(old[key], new[key])}
    assert any("projector" in key for key in moved)
    assert any("language_model.layers" in key for key in moved) == (name != "run_pre_training.sh")


def test_dpo_on_records_that_are_too_long_names_the_length_that_holds_all(pairs, tiny_llava):
    config = parsed("run_dpo_training.sh", MODEL=tiny_llava, DATA=pairs / "pairs.json", IMAGES=pairs)
    encoder = build_encoder(config, config.from_checkpoint)
    with pytest.raises(
        DataError, match=r"of 3 records can't be used.* --max_seq_len (\d+) holds each"
    ) as error:
        load_ranked(config, encoder, min_responses=2)
    needed = int(str(error.value).split("--max_seq_len ")[-1].split()[0])
    encoder.max_seq_len = needed
    trees = [encoder.encode(record) for record in load_ranked(config, encoder, min_responses=2)]
    assert max(len(t.prompt_ids) + max(len(r.ids) for r in t.responses) for t in trees) == needed
    assert all(response.ended for tree in trees for response in tree.responses)


def test_result_files_are_those_of_the_original(pairs, tiny_llava, tmp_path, capsys):
    """rm_eval.py: id, image, prompt and answer, score, for each answer. predict.py: read again by eval.score."""
    for file in tiny_llava.iterdir():
        (tmp_path / "rm").mkdir(exist_ok=True)
        (tmp_path / "rm" / file.name).symlink_to(file)
    write_extras(tmp_path / "rm", {"weight": torch.randn(1, 48)}, {"template": "legacy_llava"})
    paths = {"DATA": pairs / "pairs.json", "IMAGES": pairs, "BASE": tiny_llava, "MODEL": tmp_path / "rm"}
    config_class, flags = COMMANDS["rm_eval.py"]
    flags = flags.replace("OUT/", f"{tmp_path}/").replace("bf16", "fp32") + " --legacy_output"
    score.main(parse_args(config_class, [str(paths.get(flag, flag)) for flag in flags.split()]))
    scores = [json.loads(line)["scores"] for line in (tmp_path / "rm.jsonl").read_text().splitlines()]
    rows = [line.split(" ||| ") for line in (tmp_path / "rm.res").read_text().splitlines()]
    assert [(row[0], row[1]) for row in rows] == [
        (name, "a.jpg") for name in ("q1", "q1", "q2", "q2", "q3", "q3")
    ]
    assert [float(row[3]) for row in rows] == [score for given in scores for score in given]
    assert rows[4][2].endswith("USER: \\nWhat is this? ASSISTANT: A red picture.")

    old = tmp_path / "old.res"
    answers = [
        "0 ||| a.jpg ||| USER: Is it?\\nSay. ASSISTANT: ||| Yes,\\nit is. ||| yes",
        "1 ||| None ||| P ||| no ||| no",
    ]
    old.write_text("\n".join([*answers, answers[0]]) + "\n")  # twice, as several processes wrote them
    (tmp_path / "truth.json").write_text(
        json.dumps(
            [
                {"id": n, "conversations": [{"from": "human", "value": "Q"}], "label": "Yes,\nit is."}
                for n in "01"
            ]
        )
    )
    result = report(ScoreConfig("exact_match", [str(tmp_path / "truth.json")], str(old)))
    assert result["answered"] == 2 and next(iter(result["metrics"].values())) == 50
    old.write_text("0 ||| a.jpg ||| a ||| b ||| c ||| d\n")
    with pytest.raises(DataError, match="line 1: found 6 fields, expected 5 or 4"):
        report(ScoreConfig("exact_match", [str(tmp_path / "truth.json")], str(old)))


def test_predict_writes_beside_its_res_file_and_not_over_it(pairs, tiny_llava, tmp_path):
    paths = {"DATA": pairs / "pairs.json", "IMAGES": pairs, "MODEL": tiny_llava}
    config_class, flags = COMMANDS["run_predict.sh"]
    flags = (
        flags.replace("OUT/", f"{tmp_path}/").replace("1024", "4").replace("bf16", "fp32")
        + " --legacy_output"
    )
    predict.main(parse_args(config_class, [str(paths.get(flag, flag)) for flag in flags.split()]))
    rows = [line.split(" ||| ") for line in (tmp_path / "sciqa_with_image.res").read_text().splitlines()]
    assert [row[:2] for row in rows] == [["q1", "a.jpg"], ["q2", "a.jpg"], ["q3", "a.jpg"]]
    assert all(len(row) == 5 for row in rows) and (tmp_path / "sciqa_with_image.jsonl").is_file()
