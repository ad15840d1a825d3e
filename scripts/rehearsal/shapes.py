"""Published models without weights, and trees of tokens for them."""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText, PretrainedConfig, PreTrainedModel

from training.utils.data.tree import Response, Tree
from training.utils.model.family import Family
from training.utils.model.read_config import read_config
from training.utils.process import dist

PUBLISHED = Path(__file__).resolve().parents[2] / "tests" / "published"


@dataclass(frozen=True)
class Picture:
    """One picture of 640 x 480 as a family's processor gives it."""

    num_tokens: int
    pixels: tuple[int, ...]  # shape of `pixel_values`
    values: dict[str, list]  # its other tensors

    @property
    def vision(self) -> dict[str, Tensor]:
        others = {name: torch.tensor(value) for name, value in self.values.items()}
        return {"pixel_values": torch.zeros(self.pixels)} | others


CLIP = Picture(576, (1, 3, 336, 336), {})
# An overview, and tiles of 2 x 2 of which the padding above and below is left out: 36 lines of 48 with an end each.
TILES = Picture(576 + 36 * 49, (1, 5, 3, 336, 336), {"image_sizes": [[480, 640]]})
MLLAMA = Picture(
    1, (1, 1, 4, 3, 560, 560), {"aspect_ratio_ids": [[6]], "aspect_ratio_mask": [[[1, 1, 1, 1]]]}
)
QWEN = Picture(17 * 23, (34 * 46, 1176), {"image_grid_thw": [[1, 34, 46]]})

# By family and size: the file of its published config, and a picture.
MODELS = {
    ("llava-1.5", "7b"): ("llava-1.5-7b-hf", CLIP),
    ("llava-1.5", "13b"): ("llava-1.5-13b-hf", CLIP),
    ("llava-next", "7b"): ("llava-v1.6-vicuna-7b-hf", TILES),
    ("llama-3.2-vision", "11b"): ("Llama-3.2-11B-Vision", MLLAMA),
    ("qwen2.5-vl", "7b"): ("Qwen2.5-VL-7B-Instruct", QWEN),
}


def write_config(name: str, folder: Path, num_layers: int | None = None) -> None:
    """A published config as a model folder.

    Args:
        num_layers: of language model and tower, in place of the published ones; what a layer costs stays the same.
    """
    config = json.loads((PUBLISHED / f"{name}.json").read_text())["config"]
    text, vision = config["text_config"], config["vision_config"]
    if num_layers:
        text["num_hidden_layers"] = num_layers
        vision["depth" if "depth" in vision else "num_hidden_layers"] = num_layers
        for settings, key in (
            (text, "cross_attention_layers"),
            (vision, "intermediate_layers_indices"),
            (vision, "fullatt_block_indexes"),
        ):
            if key in settings:
                settings[key] = [layer for layer in settings[key] if layer < num_layers] or [num_layers - 1]
        if "vision_output_dim" in vision:
            states = 1 + len(vision["intermediate_layers_indices"])
            vision["vision_output_dim"] = states * vision["hidden_size"]
    (folder / "config.json").write_text(json.dumps(config))


def load_model(
    family: Family, path: str, *, dtype: torch.dtype, attn_implementation: str, **_
) -> PreTrainedModel:
    """Stands for `Family.load_model`: a model of random weights on the device; on a fake one they are none."""
    torch.manual_seed(0)  # models of one checkpoint are equal
    with dist.device():
        return AutoModelForImageTextToText.from_config(
            read_config(Path(path)), dtype=dtype, attn_implementation=attn_implementation
        )


def trees(
    config: PretrainedConfig,
    picture: Picture,
    count: int,
    num_words: int,
    num_responses: int,
    response_len: int,
) -> list[Tree]:
    """Prompts of one picture and some words, with responses of one length: neither trees nor rows are padded."""
    image_id = getattr(config, "image_token_id", None) or config.image_token_index
    prompt = [1, *[image_id] * picture.num_tokens, *[5] * num_words]
    return [
        Tree(
            str(number),
            prompt,
            [False] * len(prompt),
            [Response([7] * response_len) for _ in range(num_responses)],
            picture.vision,
        )
        for number in range(count)
    ]
