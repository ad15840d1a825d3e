"""A model from parts: a vision tower, a new projector and a language model, as one checkpoint folder.

    python -m training.utils.model.assemble --vision_model_name_or_path CLIP --lm_model_name_or_path LLAMA \\
        --vis_proj baseline --output_dir models/from-scratch
"""

import json
from dataclasses import dataclass, fields
from math import isqrt
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    CLIPImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedModel,
)

from ..config.flags import flag
from ..config.model_config import PartsConfig
from ..data.record import DataError
from ..process import dist
from ..process.command import run_command
from .from_scratch import FromScratch, FromScratchConfig, FromScratchForConditionalGeneration
from .open_clip_tower import OpenClipVision
from .projectors import PROJECTORS
from .read_config import read_config
from .save import save_model

IMAGE_TOKEN, PAD_TOKEN = "<image>", "<pad>"
PARTS_FILE = "parts.json"
OPEN_CLIP = "open_clip:"


@dataclass(frozen=True)
class AssembleConfig(PartsConfig):
    output_dir: str = flag("", "Folder to write the model into.", writes="folder")
    seed: int = flag(1234, "Seed of the projector.")


def assemble(parts: PartsConfig, folder: str, seed: int) -> None:
    """Writes model and processor into `folder`, in the precision of the language model.

    Raises:
        DataError: a part is not there, or does not go with the others.
    """
    if parts.vis_proj not in PROJECTORS:
        raise DataError(f"--vis_proj {parts.vis_proj}: unknown; expected one of {', '.join(PROJECTORS)}")
    for name in ("lm_model_name_or_path", "vision_model_name_or_path"):
        path = getattr(parts, name)
        if path.startswith(OPEN_CLIP):
            continue
        if not (Path(path) / "config.json").is_file():
            tower = (
                "" if name.startswith("lm_") else "; the tower of Qwen-VL alone, which has none, is not built"
            )
            raise DataError(f"--{name} {path}: holds no config.json; expected a model folder{tower}")
        read_config(path)
    torch.manual_seed(seed)
    tokenizer = load_tokenizer(parts.lm_model_name_or_path)
    lm = AutoModelForCausalLM.from_pretrained(
        parts.lm_model_name_or_path, dtype="auto", trust_remote_code=False
    )
    lm.resize_token_embeddings(len(tokenizer))
    tower = load_tower(parts.vision_model_name_or_path).to(lm.dtype)
    grid = token_grid(tower, feature_layer(parts))
    model = put_together(parts, tower, grid, lm, tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
    model.generation_config = lm.generation_config
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    save_model(FromScratch(), model, Path(folder), model.state_dict())
    build_processor(parts, model, grid, tokenizer).save_pretrained(folder)


def assemble_once(parts: PartsConfig, folder: str, seed: int) -> None:
    """The same, unless it was done before. All processes must call it.

    Raises:
        DataError: it was done before, from other parts.
    """
    made_of = {field.name: getattr(parts, field.name) for field in fields(PartsConfig)} | {"seed": seed}

    def build() -> None:
        place = Path(folder)
        if not place.is_dir():
            partial = place.with_name(f".{place.name}.partial")
            assemble(parts, str(partial), seed)
            (partial / PARTS_FILE).write_text(json.dumps(made_of, indent=2) + "\n")
            partial.rename(place)
        elif (record := place / PARTS_FILE).is_file() and json.loads(record.read_text()) != made_of:
            raise DataError(
                f"{place}: was built from other parts, listed in its {PARTS_FILE}; choose another --output_dir, or "
                "rename that folder"
            )

    dist.from_main(build)


def load_tokenizer(folder: str):
    """The language model's, with tokens for image and padding."""
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
    if tokenizer.pad_token is None:
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
    return tokenizer


def load_tower(path: str) -> PreTrainedModel:
    """A vision tower with its trained weights; of a CLIP, the vision half."""
    if path.startswith(OPEN_CLIP):
        name, _, weights = path.removeprefix(OPEN_CLIP).partition("=")
        return OpenClipVision.of(name, weights)
    config = read_config(path)
    config = getattr(config, "vision_config", config)
    return AutoModel.from_config(config).__class__.from_pretrained(path, config=config)


def feature_layer(parts: PartsConfig) -> int:
    """The layer of the tower that is read: LLaVA's projector reads the one before the last."""
    return -2 if parts.vis_proj == "mlp2x_gelu" else -1


class TokenGrid(NamedTuple):
    """How a tower divides an image."""

    side: int  # patches along a side
    has_class_token: bool  # in front of them


def token_grid(tower: PreTrainedModel, layer: int) -> TokenGrid:
    """The tower is asked on a blank image, whatever its config calls these things.

    Raises:
        DataError: its tokens are no square grid, or that layer's features have another size than the last one's.
    """
    image_px = tower.config.image_size
    with torch.no_grad():
        blank = torch.zeros(1, 3, image_px, image_px, dtype=tower.dtype)
        _, num_tokens, size = tower.eval()(blank, output_hidden_states=True).hidden_states[layer].shape
    if size != tower.config.hidden_size:
        raise DataError(
            f"--vision_model_name_or_path: layer {layer} of the tower has {size} features, the last one "
            f"{tower.config.hidden_size}; choose a projector that reads the last layer, as --vis_proj baseline"
        )
    side = isqrt(num_tokens)
    if num_tokens - side**2 > 1:
        raise DataError(
            f"--vision_model_name_or_path: the tower makes {num_tokens} tokens of an image, which are no square grid"
        )
    return TokenGrid(side, num_tokens > side**2)


def put_together(
    parts: PartsConfig, tower: PreTrainedModel, grid: TokenGrid, lm: PreTrainedModel, image_id: int
) -> LlavaForConditionalGeneration:
    is_llava = parts.vis_proj == "mlp2x_gelu"
    without_class_token = grid.has_class_token and (is_llava or parts.vis_proj == "perceiver")
    settings = {
        "vision_config": tower.config,
        "text_config": lm.config,
        "image_token_index": image_id,
        "vision_feature_layer": feature_layer(parts),
        "vision_feature_select_strategy": "default" if without_class_token else "full",
    }
    if is_llava and not parts.enable_mmca_attention and tower.config.model_type == "clip_vision_model":
        model_class, config = LlavaForConditionalGeneration, LlavaConfig(**settings)
    else:
        model_class = FromScratchForConditionalGeneration
        config = FromScratchConfig(
            **settings,
            projector=parts.vis_proj,
            num_queries=parts.num_queries,
            enable_mmca_attention=parts.enable_mmca_attention,
        )
    with torch.device("meta"):
        model = model_class(config)
    model.model.vision_tower, model.model.language_model, model.lm_head = tower, lm.model, lm.lm_head
    projector = PROJECTORS[parts.vis_proj](config).to(lm.dtype)
    model.model.multi_modal_projector = projector
    return model


def build_processor(
    parts: PartsConfig, model: LlavaForConditionalGeneration, grid: TokenGrid, tokenizer
) -> LlavaProcessor:
    vision = model.config.vision_config
    size = {"height": vision.image_size, "width": vision.image_size}
    if parts.vision_model_name_or_path.startswith(OPEN_CLIP):
        images = CLIPImageProcessor(size={"shortest_edge": vision.image_size}, crop_size=size)
    else:
        images = AutoImageProcessor.from_pretrained(parts.vision_model_name_or_path, trust_remote_code=False)
    strategy = model.config.vision_feature_select_strategy
    if parts.vis_proj == "perceiver":  # the processor counts patches: as many as there are queries
        grid, strategy = TokenGrid(isqrt(parts.num_queries), False), "full"
    return LlavaProcessor(
        images,
        tokenizer,
        patch_size=vision.image_size // grid.side,
        vision_feature_select_strategy=strategy,
        num_additional_image_tokens=int(grid.has_class_token),
    )


def main(config: AssembleConfig) -> None:
    assemble(config, config.output_dir, config.seed)
    print(f"wrote {config.output_dir}; train its projector by scripts/run_pre_training.sh")


if __name__ == "__main__":
    run_command(main, AssembleConfig)
