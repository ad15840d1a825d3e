"""Model and data of `gpu_check.sh`, and the report of what its runs logged.

python -m scripts.gpu_check --make models/gpu_check/7b --size 7b
python -m scripts.gpu_check --report models/gpu_check --size 7b --output docs/gpu.md
"""

import json
import random
import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median

import torch
from transformers import (
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
)

from data.demo_model import TinyConfig, build_tokenizer, special_ids, write_llava
from training.utils import jsonl
from training.utils.command import run_command
from training.utils.flags import flag

SAMPLES = Path("data/samples")
NUM_RECORDS, PROMPT_WORDS, RESPONSE_WORDS = 64, 30, 120
# The shapes of LLaVA-1.5-7B, and some that a CPU can rehearse with: vision tower, language model.
SHAPES = {
    "7b": (
        CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=24,
            num_attention_heads=16,
            image_size=336,
            patch_size=14,
        ),
        LlamaConfig(vocab_size=32_064),
    ),
    "tiny": (
        CLIPVisionConfig(
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=56,
            patch_size=14,
        ),
        LlamaConfig(
            hidden_size=96,
            intermediate_size=192,
            num_hidden_layers=2,
            num_attention_heads=4,
            vocab_size=1024,
        ),
    ),
}
# Floating-point operations of a token for each weight: forward 2, gradients of activations 2, of weights 2. With
# adapters the frozen weights need no gradient of their own; DPO asks the reference too.
OPERATIONS = {"sft": 4, "reward_model": 4, "dpo": 6}


@dataclass(frozen=True)
class CheckConfig:
    size: str = flag(help="7b or tiny.", choices=list(SHAPES))
    make: str = flag("", "Folder to write model and data into.", writes="folder")
    report: str = flag("", "Folder of the runs to report on.")
    output: str = flag("", "Markdown file of the report.", writes="file")
    peak_tflops: float = flag(989.0, "bf16 peak of the GPU, TFLOP/s; an H100 or H200 has 989.")


def make(folder: Path, size: str) -> None:
    """A LLaVA with random weights, and records whose words are drawn from the samples."""
    vision, text = SHAPES[size]
    words = build_tokenizer(TinyConfig(output="", texts=str(SAMPLES)))
    text.update(special_ids(words))
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        write_llava(folder, vision, text, words)

    rng = random.Random(0)
    vocabulary = sorted(
        {word for entry in read(SAMPLES / "sft.json") for word in entry["conversations"][1]["value"].split()}
    )

    def said(count: int) -> str:
        return " ".join(rng.choices(vocabulary, k=count))

    images = sorted((SAMPLES / "images").glob("*.png"))
    for name, num_answers in (("sft", 1), ("ranked", 2), ("prompts", 0)):
        records = []
        for number in range(NUM_RECORDS):
            turns = [{"from": "human", "value": f"<image>\n{said(PROMPT_WORDS)}"}]
            answers = [said(RESPONSE_WORDS) for _ in range(num_answers)]
            if answers:
                turns.append({"from": "gpt", "value": answers if num_answers > 1 else answers[0]})
            image = images[number % len(images)].relative_to(SAMPLES)
            records.append({"id": str(number), "image": str(image), "conversations": turns})
        (folder / f"{name}.json").write_text(json.dumps(records))


def read(file: Path) -> list | dict:
    return json.loads(file.read_text())


def report(config: CheckConfig) -> str:
    runs = Path(config.report)
    vision, text = SHAPES[config.size]
    with torch.device("meta"):
        model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text))
    weights = sum(p.numel() for p in model.model.language_model.parameters())
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "deepspeed"))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    lines = [
        "# On a GPU",
        "",
        f"`bash scripts/gpu_check.sh` on {device}; {packages}. A LLaVA of the {config.size} shape with random",
        "weights and adapters of rank 64, one process. Rates are medians over the steps after the second.",
        "",
        "| stage | seconds a step | tokens a second | MFU % | peak GiB |",
        "|---|---|---|---|---|",
    ]
    for stage in ("sft", "reward_model", "dpo", "ppo"):
        logged = [line for line in jsonl.read(runs / stage / "log.jsonl") if "tokens_per_s" in line]
        rate = median(line["tokens_per_s"] for line in logged[2:])
        seconds = (logged[-1]["elapsed_s"] - logged[1]["elapsed_s"]) / (len(logged) - 2)
        operations = OPERATIONS.get(stage, 0) if torch.cuda.is_available() else 0  # the peak is a GPU's
        used = operations * weights * rate / (config.peak_tflops * 1e12)
        peak = f"{logged[-1]['peak_gib']:.1f}" if "peak_gib" in logged[-1] else ""
        lines.append(
            f"| {stage} | {seconds:.2f} | {rate:,.0f} | {f'{100 * used:.1f}' if used else ''} | {peak} |"
        )
    generated = re.findall(r".* tokens/s", (runs / "answers" / "training.log").read_text())[-1]
    lines += ["", f"Generation, 8 samples for each of 16 prompts at a time: {generated}."]
    lines += ["", "Trees against separate rows:", "", "```", (runs / "trees.txt").read_text().rstrip(), "```"]
    return "\n".join(lines) + "\n"


def main(config: CheckConfig) -> None:
    if config.make:
        make(Path(config.make), config.size)
    if config.report:
        text = report(config)
        Path(config.output).write_text(text)
        print(text)


if __name__ == "__main__":
    run_command(main, CheckConfig)
