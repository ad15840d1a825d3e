"""Command-line flags that stages share: a dataclass for each concern. `stage_config.py` composes them.

A field is a flag; its comment in `metadata` is the flag's help. Values that follow from others are properties:
nothing changes after parsing. Here: of models; `data_config.py` and `train_config.py` hold the others.
"""

import dataclasses
from dataclasses import dataclass

import torch

from .flags import May, flag, require, require_effect


@dataclass(frozen=True)
class ModelConfig:
    from_checkpoint: str = flag(
        "", "Model folder, or the output folder of an earlier stage.", may=May.MOVE_MODEL
    )
    model_architecture: str = flag("auto", "Model family; `auto` reads it from the checkpoint.")
    template: str = flag("auto", "Prompt template; `auto` is the one the checkpoint was trained with.")
    word_tokens: list[str] = flag(
        [], "Special tokens of the checkpoint that are words, such as '<box>' '</box>'; see data/README.md."
    )
    max_seq_len: int = flag(4096, "Longest prompt with response in tokens, image tokens included.")
    max_pixels: int = flag(
        0,
        "Most pixels that a picture keeps, in families that keep a picture's resolution or cut it into tiles; 0: as "
        "the checkpoint, and one that was not trained here lowered so that a picture takes at most 3/4 of "
        "--max_seq_len.",
    )
    min_pixels: int = flag(
        0, "Fewest pixels that a picture is enlarged to, in such families; 0: as the checkpoint."
    )
    image_aspect_ratio: str = flag(
        "auto",
        "`pad`: to a square in the mean colour, as LLaVA-1.5 was trained; `auto`: as the checkpoint's processor.",
    )
    precision: str = flag("auto", "bf16, fp16, fp32 or auto: bf16 on a GPU, fp32 on a CPU.")
    attn_implementation: str = flag(
        "auto",
        "Attention: auto: on a GPU FlexAttention for several responses to a prompt, and flash attention where it "
        "fits; sdpa: without FlexAttention, which is compiled at its first use; eager: as plain operations.",
    )
    trust_remote_code: bool = flag(False, "Run Python code that comes with the checkpoint.", may=May.CHANGE)
    seed: int = flag(1234, "Seed of every random choice.")
    max_silence_s: float = flag(
        180.0,
        "Seconds without a sign of life after which one of several processes counts as gone, and the run ends.",
        may=May.CHANGE,
    )

    def __post_init__(self) -> None:
        require(bool(self.from_checkpoint), "--from_checkpoint: missing; expected a model folder")
        require_effect(self)
        require(
            self.precision in ("auto", "bf16", "fp16", "fp32"),
            f"--precision {self.precision}: unknown; expected auto, bf16, fp16 or fp32",
        )
        require(
            self.precision != "fp16" or torch.cuda.is_available(),
            "--precision fp16: needs a GPU; use bf16 or fp32 on a CPU",
        )
        require(
            self.attn_implementation in ("auto", "sdpa", "eager"),
            f"--attn_implementation {self.attn_implementation}: unknown; expected auto, sdpa or eager",
        )
        require(
            self.image_aspect_ratio in ("auto", "pad"),
            f"--image_aspect_ratio {self.image_aspect_ratio}: unknown; expected auto or pad",
        )
        for name in ("max_pixels", "min_pixels"):
            require(getattr(self, name) >= 0, f"--{name} {getattr(self, name)}: expected 1 or more, or 0")
        require(self.max_seq_len > 1, f"--max_seq_len {self.max_seq_len}: expected 2 tokens or more")

    @property
    def for_another_model(self) -> "ModelConfig":
        """The same for a checkpoint that knows its own family, template and pictures."""
        own = {"model_architecture": "auto", "template": "auto", "image_aspect_ratio": "auto"}
        return dataclasses.replace(self, **own, max_pixels=0, min_pixels=0, word_tokens=[])

    @property
    def torch_dtype(self) -> torch.dtype:
        if self.precision == "auto":
            return torch.bfloat16 if torch.cuda.is_available() else torch.float32
        return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[self.precision]

    @property
    def attention(self) -> str | None:
        return None if self.attn_implementation == "auto" else self.attn_implementation


@dataclass(frozen=True)
class PartsConfig:
    """What a model is built from, where there is no checkpoint of a whole one."""

    lm_model_name_or_path: str = flag("", "Build a model from parts: folder of the language model.")
    vision_model_name_or_path: str = flag(
        "", "Build a model from parts: folder of a CLIP, or open_clip:NAME=WEIGHTS."
    )
    vis_proj: str = flag("baseline", "Its projector: baseline, vit, perceiver or mlp2x_gelu.")
    num_queries: int = flag(256, "Tokens of an image with the perceiver, a square number.")
    enable_mmca_attention: bool = flag(False, "Give it multi-modal causal attention (arXiv 2309.14327).")
