"""Checkpoints of Vision-LLM-Alignment: their weights by the names that transformers uses.

    a LLaVA                 language_model.model.layers...      renamed by transformers itself
    a reward model          v_head.weight, rwtranrsformer.<names of the backbone>
    a from-scratch model    vis_encoder..., projection..., lang_embed..., lang_decoder...

They are pickles, so they are read without running what they might hold. As a checkpoint of this project:

    python -m training.utils.model.legacy_weights --weights OLD --base LLAVA --output_dir models/reward_model

where LLAVA is the model that training began with, or for a from-scratch model what `assemble.py` makes of its parts.
"""

import json
import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import HfArgumentParser, PreTrainedModel

from ..checkpoint import resolve_checkpoint, write_extras
from ..data.record import DataError
from .build_model import get_family

logger = logging.getLogger(__name__)

INDEX = "pytorch_model.bin.index.json"
HEAD = "v_head."
BACKBONE = "rwtranrsformer."  # as the original spells it
FROM_SCRATCH = {
    "vis_encoder.": "model.vision_tower.",
    "projection.": "model.multi_modal_projector.",
    "lang_embed.": "model.language_model.embed_tokens.",
    "lang_decoder.model.": "model.language_model.",
    "lang_decoder.lm_head.": "lm_head.",
}
MAX_NAMED = 20


def read_legacy(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a checkpoint folder: those of the backbone, and `weight` [1, D] of the value head, if any.

    Raises:
        DataError: there are none, or a file holds something else than tensors.
    """
    weights: dict[str, Tensor] = {}
    for file in _files(Path(folder)):
        weights |= _read(file)
    head = {key.removeprefix(HEAD): tensor for key, tensor in weights.items() if key.startswith(HEAD)}
    backbone = {
        key.removeprefix(BACKBONE): tensor for key, tensor in weights.items() if not key.startswith(HEAD)
    }
    # The original trained a copy of the embedding; the decoder kept the one from before.
    stale = "lang_decoder.model.embed_tokens.weight"
    if stale in backbone and "lang_embed.weight" in backbone:
        del backbone[stale]
        logger.info("%s: lang_embed, which was trained, replaces the embed_tokens of lang_decoder", folder)
    return {_rename(key): tensor for key, tensor in backbone.items()}, head


def load_strictly(model: PreTrainedModel, weights: dict[str, Tensor]) -> None:
    """Loads all weights of a model, by the names of this or an earlier transformers.

    Args:
        model: as transformers builds it, no part frozen yet. It keeps its dtype and device.

    Raises:
        DataError: a weight is missing, has another shape, or is not the model's. The model is unchanged then.
    """
    loaded, report = type(model).from_pretrained(
        None,
        config=model.config,
        state_dict=weights,
        dtype=model.dtype,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    problems = [
        *(f"{key}: missing" for key in sorted(report["missing_keys"])),
        *(
            f"{key}: shape {list(found)}, expected {list(expected)}"
            for key, found, expected in sorted(report["mismatched_keys"])
        ),
        *(f"{key}: not a weight of the model" for key in sorted(report["unexpected_keys"])),
        *(
            f"{key}: differs from {other}, which is the same weight in this model"
            for key, other in model.all_tied_weights_keys.items()
            if not torch.equal(loaded.get_parameter(key), loaded.get_parameter(other))
        ),
        *report["error_msgs"],
    ]
    if problems:
        more = [f"and {len(problems) - MAX_NAMED} more"] if len(problems) > MAX_NAMED else []
        raise DataError(
            f"{len(problems)} weights do not fit {type(model).__name__}; expected a checkpoint of this model:\n  "
            + "\n  ".join(problems[:MAX_NAMED] + more)
        )
    model.load_state_dict(loaded.state_dict())


def _files(folder: Path) -> list[Path]:
    index = folder / INDEX
    if index.is_file():
        files = [folder / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
    else:
        files = sorted(folder.glob("pytorch_model*.bin")) or sorted(folder.glob("*.safetensors"))
    if not files:
        raise DataError(f"{folder}: holds no weights; expected pytorch_model.bin")
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: not there, but {INDEX} names it")
    return files


def _read(file: Path) -> dict[str, Tensor]:
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        weights = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise DataError(f"{file}: holds something else than tensors, and was not unpickled") from error
    except (RuntimeError, EOFError, BadZipFile, SafetensorError) as error:
        raise DataError(f"{file}: damaged; expected a file of tensors, whole") from error
    if not isinstance(weights, dict) or not all(isinstance(tensor, Tensor) for tensor in weights.values()):
        raise DataError(f"{file}: expected a state dict, tensors by their names")
    return weights


def _rename(key: str) -> str:
    """The name in a LLaVA of a from-scratch model's weight; any other is left as it is."""
    for old, new in FROM_SCRATCH.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key


@dataclass(frozen=True)
class ConvertConfig:
    weights: str = field(metadata={"help": "Folder that holds pytorch_model.bin."})
    base: str = field(
        metadata={"help": "Folder of the model that training began with: config and processor."}
    )
    output_dir: str = field(metadata={"help": "Folder to write into."})
    template: str = field(default="auto", metadata={"help": "The template that it was trained with."})


def convert(config: ConvertConfig) -> None:
    """Writes a checkpoint of the original as one that each stage, and transformers, load."""
    base, folder = resolve_checkpoint(config.base), Path(config.output_dir)
    family = get_family("auto", base)
    backbone, head = read_legacy(config.weights)
    model = family.load_model(str(base), dtype="auto")
    if not any(key.endswith("lm_head.weight") for key in backbone):  # a reward model needs none
        backbone["lm_head.weight"] = model.lm_head.weight
    load_strictly(model, backbone)
    family.save_model(model, folder, model.state_dict())
    family.load_processor(str(base)).save_pretrained(folder)
    write_extras(folder, head, {"template": config.template})
    print(f"wrote {folder}" + (", a reward model" if head else ""))


if __name__ == "__main__":
    convert(HfArgumentParser(ConvertConfig).parse_args_into_dataclasses()[0])
