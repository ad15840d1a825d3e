"""SFT in processes that count how many pictures their tower sees: `python -m tests.stages.tower_calls FLAGS`"""

import sys

from training.sft.train_sft import main
from training.utils.config.stage_config import SFTConfig
from training.utils.process import dist
from training.utils.process.cli import run_stage

from transformers.models.clip.modeling_clip import CLIPVisionModel  # isort: skip


def counting(config: SFTConfig) -> None:
    seen = []
    forward = CLIPVisionModel.forward
    CLIPVisionModel.forward = lambda self, pixels, **more: (
        seen.append(len(pixels)) or forward(self, pixels, **more)
    )
    main(config)
    counts = dist.gather_objects(sum(seen))
    if dist.is_main():
        print(f"pictures seen by each tower: {counts}")


if __name__ == "__main__":
    sys.argv += ["--precision", "fp32"]
    run_stage(counting, SFTConfig)
