"""Checkpoints of Vision-LLM-Alignment: their weights by the names that transformers uses.

    a LLaVA                 language_model.model.layers...      renamed by transformers itself
    a reward model          v_head.weight, rwtranrsformer.<names of the backbone>
    a from-scratch model    vis_encoder..., projection..., lang_embed..., lang_decoder...

They are pickles, so they are read without running what they might hold. As a checkpoint of this project:

    python -m training.utils.model.legacy_weights --weights OLD --base LLAVA --output_dir models/reward_model \\
        --template legacy_llava

where LLAVA is the model that training began with, or for a from-scratch model what `assemble.py` makes of its parts:
then the config also keeps what the original computed in its own way (attention, projector, rotary base).
"""

import json
import logging
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from ..config.flags import flag
from ..data.DST import require_template
from ..data.legacy_templates import LEGACY
from ..data.record import DataError
from ..files.model_folder import resolve_checkpoint, write_extras
from ..process.command import run_command
from .build_model import get_family
from .from_scratch import FromScratchConfig
from .legacy_names import BACKBONE, HEAD, renamed
from .read_config import read_config
from .save import save_model

logger = logging.getLogger(__name__)

INDEX = "pytorch_model.bin.index.json"
ARGUMENTS = "train_args.pt"  # beside the weights of a from-scratch model
ROTARY_BASE = 10_000.0  # of the original's own LLaMA, whatever a config says
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
    return renamed(backbone), head


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


@dataclass(frozen=True)
class ConvertConfig:
    weights: str = flag(help="Folder that holds pytorch_model.bin.")
    base: str = flag(help="Folder of the model that training began with: config and processor.")
    output_dir: str = flag(help="Folder to write into.", writes="folder")
    template: str = flag(
        "auto", "The template that it was trained with; legacy_NAME writes the prompts that it knows."
    )
    mmca: str = flag(
        "legacy",
        "Multi-modal causal attention as the original computed it, or as its paper has it.",
        choices=["legacy", "paper"],
    )


def convert(config: ConvertConfig) -> None:
    """Writes a checkpoint of the original as one that each stage, and transformers, load.

    Raises:
        DataError: the weights do not fit the base, the base was built otherwise, or the template is unknown.
    """
    base, folder = resolve_checkpoint(config.base), Path(config.output_dir)
    family, model_config = get_family("auto", base), read_config(base)
    arguments = _arguments(Path(config.weights))
    template = config.template
    if template == "auto" and arguments.get("template"):
        template = LEGACY + arguments["template"]
    require_template(template)
    backbone, head = read_legacy(config.weights)
    is_from_scratch = isinstance(model_config, FromScratchConfig)
    said = _as_it_computed(model_config, arguments, config.mmca) if is_from_scratch else []
    model = family.load_model(str(base), config=model_config, dtype="auto")
    if not any(key.endswith("lm_head.weight") for key in backbone):  # a reward model needs none
        backbone["lm_head.weight"] = model.lm_head.weight
    load_strictly(model, backbone)
    save_model(family, model, folder, model.state_dict())
    family.load_processor(str(base)).save_pretrained(folder)
    write_extras(folder, head, {"template": template})
    print(
        "\n".join([*said, _about_prompts(template), f"wrote {folder}" + (", a reward model" if head else "")])
    )


def _as_it_computed(config: FromScratchConfig, arguments: dict[str, Any], mmca: str) -> list[str]:
    """Sets the config to what the original computed, and says what was chosen.

    Raises:
        DataError: the base has another attention or projector than the model was trained with.
    """
    for name, built in (
        ("enable_mmca_attention", config.enable_mmca_attention),
        ("vis_proj", config.projector),
    ):
        if arguments.get(name, built) != built:
            raise DataError(
                f"--base: was assembled with {name} {built}, and {ARGUMENTS} says {arguments[name]}; assemble a base "
                "with the flags that the model was trained with"
            )
    config.legacy_projector = True
    config.legacy_attention = config.enable_mmca_attention and mmca == "legacy"
    said = []
    if config.legacy_attention:
        said.append("attention: MMCA as the original computed it; --mmca paper is what new models get")
    elif config.enable_mmca_attention:
        said.append("attention: MMCA as in its paper, which is not what the model was trained with")
    else:
        said.append("attention: causal; for a model of --enable_mmca_attention assemble the base with it")
    rotary = config.text_config.rope_parameters
    if rotary["rope_theta"] != ROTARY_BASE:
        said.append(
            f"rotary base: {ROTARY_BASE:,.0f}, which the original always used, in place of the language model's "
            f"own {rotary['rope_theta']:,.0f}"
        )
        config.text_config.rope_parameters = rotary | {"rope_theta": ROTARY_BASE}
    return said


def _about_prompts(template: str) -> str:
    if template.startswith(LEGACY):
        return f"prompts: {template}, as the original wrote them"
    return f"prompts: {template}, not those of the original, which --template {LEGACY}NAME writes"


def _arguments(folder: Path) -> dict[str, Any]:
    """The flags that a from-scratch model was trained with, where the original wrote them."""
    file = folder / ARGUMENTS
    if not file.is_file():
        return {}
    try:
        arguments = torch.load(file, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, BadZipFile):
        logger.warning("%s: can't be read without running code; its flags are not compared", file)
        return {}
    return arguments if isinstance(arguments, dict) else {}


if __name__ == "__main__":
    transformers_logging.set_verbosity_error()  # load_strictly says what does not fit
    run_command(convert, ConvertConfig)
