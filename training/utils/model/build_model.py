"""The table of model families, and how models are built.

To add a family, write a file like `llava.py` beside this one and add a line to `FAMILIES`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from torch.nn import Module
from transformers import PreTrainedModel

from ..config.model_config import ModelConfig
from ..config.train_config import TrainConfig
from ..data.record import DataError
from ..engine.zero import gathered, sharded_loading
from ..files.model_folder import (
    ADAPTER_FOLDER,
    HEAD_FILE,
    read_aspects,
    read_head,
    read_metadata,
    require_reward_model,
    resolve_checkpoint,
    weights_digest,
)
from ..process import dist
from .backbone import Backbone
from .dropout import disable_dropout, disable_frozen_dropout
from .family import Family
from .flex_attention import flex_attention_serves
from .from_scratch import FromScratch
from .gemma3 import Gemma3
from .glm4v import GLM4V
from .idefics import Idefics
from .idefics2 import Idefics2
from .internvl import InternVL
from .kernels import fuse_kernels
from .llava import Llava, Mistral3
from .llava_next import LlavaNext
from .llava_onevision import LlavaOnevision
from .lora import add_lora, four_bit, load_adapter
from .mllama import Mllama
from .other import OtherFamily
from .paligemma import PaliGemma
from .placeholders import find_places_on_the_cpu
from .policy import Policy
from .qwen_vl import QwenVL
from .read_config import read_config
from .tree_attention import use_tree_attention
from .unused_head import UnusedHead
from .value_head import ValueModel

# The names of `--model_architecture`.
FAMILIES: dict[str, Family] = {
    "llava": Llava(),
    "llava_next": LlavaNext(),
    "llava_onevision": LlavaOnevision(),
    "llama-3.2-vision": Mllama(),
    "qwen2_vl": QwenVL(),
    "qwen2_5_vl": QwenVL(),
    "qwen3_vl": QwenVL(),
    "qwen3_vl_moe": QwenVL(),
    "glm4v": GLM4V(),
    "mistral3": Mistral3(),
    "internvl": InternVL(),
    "idefics2": Idefics2(),
    "idefics3": Idefics(),
    "smolvlm": Idefics(),
    "gemma3": Gemma3(),
    "paligemma": PaliGemma(),
    "default": FromScratch(),
}


def get_family(name: str, checkpoint: Path, trust_remote_code: bool = False) -> Family:
    """The family by its name, or with `auto` by the checkpoint's own model type.

    Raises:
        DataError: the name is unknown, or the checkpoint is of another family.
    """
    config = read_config(checkpoint, trust_remote_code)
    fitting = {known: family for known, family in FAMILIES.items() if config.model_type in family.model_types}
    if name == "auto":
        return next(iter(fitting.values()), OtherFamily()).for_config(config)
    if name not in FAMILIES:
        raise DataError(f"--model_architecture {name}: unknown; expected one of auto, {', '.join(FAMILIES)}")
    if name not in fitting:
        raise DataError(
            f"--model_architecture {name}: {checkpoint} holds a model of type {config.model_type}; use "
            f"--model_architecture {next(iter(fitting), 'auto')}"
        )
    return fitting[name].for_config(config)


def build_policy(
    config: ModelConfig, checkpoint: str | Path, family: Family, trainable: bool = True
) -> Policy:
    """The policy of a checkpoint folder; a frozen one is a reference."""
    return Policy(_load(config, resolve_checkpoint(checkpoint), family, trainable), family)


def build_value_model(
    config: ModelConfig,
    checkpoint: str | Path,
    family: Family,
    trainable: bool = True,
    needs_head: bool = False,
    verdict: tuple[int, int] | None = None,
    aspects: Sequence[str] = (),
    speaks: bool = False,
) -> ValueModel:
    """A reward model or critic: the backbone of a checkpoint folder, with its value head or a new one.

    Args:
        verdict: two tokens; values are how far the first is likelier than the second to come next, in nats.
        aspects: names of the outputs of a new head, if it is to have several.
        speaks: it keeps the head that it writes texts with.

    Raises:
        DataError: `needs_head`, and the folder holds no trained head.
    """
    folder = require_reward_model(checkpoint) if needs_head else resolve_checkpoint(checkpoint)
    names = read_aspects(folder) or aspects
    model = ValueModel(_load(config, folder, family, trainable), family, names)
    if verdict:
        with gathered(model.model.lm_head):
            model.v_head.tell_apart(model.model.lm_head, *verdict)
    if not speaks:
        UnusedHead(model.model, is_saved=trainable)
    if not verdict and (folder / HEAD_FILE).is_file():
        load_head(model, folder)
    model.v_head.to(model.model.dtype).requires_grad_(trainable)
    return model


def build_backbone(config: TrainConfig, family: Family, adapters: dict[str, Path | None]) -> Backbone:
    """The frozen model of `from_checkpoint` with some adapters of its language model.

    Args:
        adapters: for each name the folder of the model that it was trained for; none: a new one.
    """
    folder = resolve_checkpoint(config.from_checkpoint)
    model = _open(config, folder, family, config.load_in_4bit)
    family.freeze(model, vision=False, language=False)
    model.requires_grad_(False)
    for name, source in adapters.items():
        if source:
            load_adapter(model, source / ADAPTER_FOLDER, name)
        else:
            part = family.language_model(model)
            add_lora(
                part, config.lang_lora_dim, config.lora_alpha, config.lang_lora_module_name, adapter=name
            )
    disable_dropout(model)  # one module in several roles, some of them frozen
    if config.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return Backbone(model.to(dist.device()))


def require_adapter(checkpoint: str | Path, base: str | Path) -> Path:
    """The folder of a model that was trained from `base` by adapters alone.

    Raises:
        DataError: it was not.
    """
    folder, base = resolve_checkpoint(checkpoint), resolve_checkpoint(base)
    if read_metadata(folder).get("adapter_of") != dist.from_main(lambda: weights_digest(base)):
        raise DataError(
            f"{folder}: is no adapter on {base}; expected a model trained from there with --lang_lora_dim and "
            "--only_optimize_lora"
        )
    return folder


def load_head(model: ValueModel, folder: Path) -> None:
    """Gives a value model the head of a reward model's folder."""
    weights, model.v_head.scale = read_head(folder)
    model.v_head.load_state_dict(weights)


def _open(config: ModelConfig, folder: Path, family: Family, quantize: bool) -> PreTrainedModel:
    settings = {
        "dtype": config.torch_dtype,
        "attn_implementation": config.attention,
        "trust_remote_code": config.trust_remote_code,
    }
    shares_out = isinstance(config, TrainConfig) and config.zero_stage == 3
    if quantize:
        settings["quantization_config"] = four_bit(config.torch_dtype)
    if quantize or (dist.device().type != "cpu" and not shares_out):
        # Straight from the file: no process holds a whole model in the node's memory first.
        settings["device_map"] = {"": dist.device()}
    width = read_config(folder, config.trust_remote_code).get_text_config().hidden_size
    with sharded_loading(config, width) if isinstance(config, TrainConfig) else nullcontext():
        model = family.load_model(str(folder), **settings)
    find_places_on_the_cpu(model)
    family.prove(model)
    if family.takes_trees:
        part = family.language_model(model)
        serves = flex_attention_serves(
            part.config, config.torch_dtype, getattr(config, "uses_dropout", False)
        )
        use_tree_attention(part, by_blocks=serves and config.attn_implementation == "auto")
    if isinstance(config, TrainConfig):
        fuse_kernels(family.language_model(model), config)
    return model


def _load(config: ModelConfig, folder: Path, family: Family, trainable: bool) -> PreTrainedModel:
    model = _open(config, folder, family, quantize=trainable and config.load_in_4bit)
    if trainable:
        _make_trainable(config, model, family)
        (disable_frozen_dropout if config.uses_dropout else disable_dropout)(model)
        if config.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
    else:
        family.freeze(model, vision=False, language=False)
        model.requires_grad_(False).eval()
    return model


def _make_trainable(config: TrainConfig, model: PreTrainedModel, family: Family) -> None:
    """Freezes what the flags do not ask for, and adds the adapters that they ask for."""
    family.freeze(
        model,
        vision=config.vis_encoder_update or config.vis_lora_dim > 0,
        language=config.lang_decoder_update and config.lang_lora_dim == 0,
    )
    projector = family.projector(model)
    if config.lang_lora_dim:
        part = family.language_model(model)
        add_lora(part, config.lang_lora_dim, config.lora_alpha, config.lang_lora_module_name)
    if config.vis_lora_dim:
        part, others = family.tower(model), [part for part in projector if isinstance(part, Module)]
        add_lora(part, config.vis_lora_dim, config.lora_alpha, config.vis_lora_module_name, without=others)
    for part in projector:
        part.requires_grad_(not config.only_optimize_lora)
