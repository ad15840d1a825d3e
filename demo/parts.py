"""Takes a LLaVA apart: its vision tower and its language model, each as a checkpoint of its own.

So that the demo can build models from parts:

    python -m demo.parts --model models/demo/projectors/clip --output models/demo/projectors/parts
"""

from dataclasses import dataclass, field
from pathlib import Path

from transformers import AutoProcessor, LlamaForCausalLM, LlavaForConditionalGeneration

from training.utils.config.flags import flag
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.process.command import run_command


@dataclass(frozen=True)
class PartsConfig:
    model: str = field(metadata={"help": "Folder of the LLaVA."})
    output: str = flag(help="Folder to write `vision` and `language` into.", writes="folder")


def take_apart(config: PartsConfig) -> None:
    source = resolve_checkpoint(config.model)
    model = LlavaForConditionalGeneration.from_pretrained(source)
    processor = AutoProcessor.from_pretrained(source)
    folder = Path(config.output)
    model.model.vision_tower.save_pretrained(folder / "vision")
    processor.image_processor.save_pretrained(folder / "vision")
    language = LlamaForCausalLM(model.config.text_config)
    language.model, language.lm_head = model.model.language_model, model.lm_head
    language.save_pretrained(folder / "language")
    processor.tokenizer.save_pretrained(folder / "language")


if __name__ == "__main__":
    run_command(take_apart, PartsConfig)
