"""The steps of the stages as `../rehearsal/stages.py` has them, on a real device, timed."""

import gc
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from transformers import AutoModelForImageTextToText

from scripts.rehearsal.engine import FakeDeepSpeed
from scripts.rehearsal.stages import WORK, Rehearsal
from training.utils.data.tree import Batch, Tree
from training.utils.model import build_model
from training.utils.model.generate import Sampling, generate
from training.utils.process import dist

NEW_TOKENS, TINY_NEW_TOKENS = 64, 8  # of a sample in generation
ADAPTERS = {"lang_lora_dim": 64, "lang_lora_module_name": "self_attn", "only_optimize_lora": True}
# What a CPU rehearses with: heads as wide as published, few of them, and few layers.
TINY_TEXT = {
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "num_hidden_layers": 1,
}
TINY_TOWERS = {
    "clip_vision_model": {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 1},
    "qwen2_5_vl": {"hidden_size": 80, "intermediate_size": 128, "num_heads": 1, "out_hidden_size": 128},
}


class Timer:
    """A device that tells how long it took, and the most memory that was held."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.peak_gib = 0.0

    @contextmanager
    def counting(self) -> Iterator[None]:
        settle()
        started = time.perf_counter()
        yield
        settle()
        self.seconds.append(time.perf_counter() - started)
        if torch.cuda.is_available():
            self.peak_gib = torch.cuda.max_memory_allocated() / 2**30


def settle() -> None:
    """Waits until the device has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def timed_device() -> Iterator[Timer]:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    try:
        yield Timer()
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


class PlainEngine(FakeDeepSpeed):
    """AdamW on what is trained, at once after each micro-batch, in place of DeepSpeed."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer | None = None, **_) -> None:
        super().__init__(model)
        self.adamw = optimizer

    def backward(self, loss: torch.Tensor, **_) -> None:
        super().backward(loss)
        self.adamw.step()
        self.adamw.zero_grad(set_to_none=True)


@dataclass
class Measured:
    """What a micro-batch took: prompt, responses and pictures through the models, and the update."""

    seconds: float
    tokens: int  # that the language model read, or in generation wrote
    operations: float  # that they need by the weights alone
    peak_gib: float


class Stages(Rehearsal):
    """One model of a family and size on this machine's device. Use it as a context."""

    on_device = staticmethod(timed_device)
    engine = PlainEngine

    def __init__(self, family: str, size: str, rounds: int, tiny: bool = False, **flags) -> None:
        """
        Args:
            rounds: of a step; the first one is not counted.
            flags: more flags of the stages.
        """
        super().__init__(family, size)
        self.rounds, self.tiny, self.more = rounds, tiny, flags
        self.tokens = 0

    def __enter__(self) -> "Stages":
        super().__enter__()
        if self.tiny:
            file = Path(self.folder) / "config.json"
            shrink(file)
            self.config = build_model.read_config(self.folder)
        return self

    def flags(self, config_class: type, **more):
        return super().flags(config_class, **ADAPTERS | self.more | more)

    def batch(self, prompts: list[Tree], as_rows: bool) -> Batch:
        batch = super().batch(prompts, as_rows)
        self.tokens = batch.num_tokens
        return batch

    def measure(self, stage: str, as_rows: bool = False) -> Measured:
        """What the rounds after the first took, the median."""
        parts = len(self.count(stage, as_rows))
        seconds = self.device.seconds
        rounds = [sum(seconds[first : first + parts]) for first in range(0, len(seconds), parts)]
        operations = OPERATIONS[stage] * self.tokens * self.num_weights()
        return Measured(median(rounds[1:]), self.tokens, operations, self.device.peak_gib)

    def num_weights(self) -> int:
        """Of the layers of the language model: the head reads responses alone, an embedding is looked up."""
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(self.config)
        return sum(weight.numel() for weight in self.family.language_model(model).layers.parameters())

    def sampled(self, stage: str, as_rows: bool) -> dict[str, None]:
        """Responses of so many tokens, the prompts read before."""
        work, length = WORK[stage], TINY_NEW_TOKENS if self.tiny else NEW_TOKENS
        policy, prompts, num_samples = self.asked(work, as_rows)
        self.tokens = work.num_prompts * work.num_responses * length
        sampling = Sampling(length, temperature=1.0, num_tokens=32_000)
        for _ in range(self.rounds):
            with self.device.counting(), torch.no_grad():
                generate(policy, prompts, sampling, num_samples)
        return {stage: None}


# Floating-point operations for each weight and token: forward 2, gradients of activations 2 (frozen weights have none
# of their own). DPO asks the model without its adapters too, GRPO policy and reference before the update.
OPERATIONS = {"rm": 4, "dpo": 6, "grpo": 8, "generate": 2}


def shrink(file: Path) -> None:
    """Makes a published config one that a CPU can rehearse with."""
    config = json.loads(file.read_text())
    text, tower = config["text_config"], config["vision_config"]
    text |= TINY_TEXT
    tower |= TINY_TOWERS[tower.get("model_type", config["model_type"])]
    tower |= {"depth" if "depth" in tower else "num_hidden_layers": 2}
    if "fullatt_block_indexes" in tower:
        tower["fullatt_block_indexes"] = [1]
    file.write_text(json.dumps(config))


def matmul_tflops() -> float:
    """What a product of two square matrices reaches on this device, TFLOP/s: the best of some."""
    size = 8192 if torch.cuda.is_available() else 512
    one, other = (torch.randn(size, size, device=dist.device(), dtype=torch.bfloat16) for _ in range(2))
    timer = Timer()
    for _ in range(10):
        with timer.counting():
            for _ in range(5):
                one @ other
    return 5 * 2 * size**3 / min(timer.seconds) / 1e12
