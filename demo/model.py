"""A tiny LLaVA with random weights: real classes, a real tokenizer trained on the texts of a data folder.

python -m demo.model --output models/tiny-llava --texts data/samples
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors, trainers
from tokenizers import models as tokenizer_models

import training.utils.torchvision  # noqa: F401  (is mended before transformers needs it)
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.model.llava import Llava
from training.utils.model.open_clip_tower import OpenClipConfig
from training.utils.model.save import save_model
from training.utils.process.command import run_command

from transformers import (  # isort: skip
    CLIPImageProcessor,
    CLIPVisionConfig,
    GenerationConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PretrainedConfig,
    PreTrainedTokenizerFast,
)

FAR = 1e6  # base of rotary positions with which a word is as like a place of the picture that is far as one near by
STRIDE = 16  # pixels of a picture's side that one place of the ResNet stands for: its third stage
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: "
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %} ASSISTANT:"
    "{% elif message['role'] == 'system' %}{{ message['content'][0]['text'] }} "
    "{% else %} {{ message['content'][0]['text'] }}{{ eos_token }}{% endif %}"
    "{% endfor %}"
)


@dataclass(frozen=True)
class TinyConfig:
    """Sizes of the model."""

    output: str = flag(help="Folder to write into.", writes="folder")
    texts: str = field(metadata={"help": "Folder of JSON files whose texts the tokenizer is trained on."})
    picture_px: int = field(default=96, metadata={"help": "Width and height of a picture."})
    patch_px: int = field(default=32, metadata={"help": "Width and height of a patch: one image token."})
    vision_size: int = field(default=128, metadata={"help": "Hidden size of the vision tower."})
    vision_layers: int = field(default=3, metadata={"help": "Layers of the vision tower."})
    hidden_size: int = field(default=192, metadata={"help": "Hidden size of the language model."})
    num_layers: int = field(default=4, metadata={"help": "Layers of the language model."})
    init_std: float = field(
        default=0.06, metadata={"help": "Standard deviation of the weights; small models want more."}
    )
    vocab_size: int = field(default=1000, metadata={"help": "Tokens, at most."})
    resnet_width: int = field(
        default=0,
        metadata={
            "help": "A ResNet with so many channels in its first stage is the tower (demo.tower); 0: a CLIP."
        },
    )
    seed: int = field(default=0, metadata={"help": "Seed of the weights."})


def texts_in(folder: Path) -> Iterator[str]:
    """All turns of the LLaVA-format files of a folder.

    Raises:
        DataError: it holds none, or one that does not parse.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise DataError(f"{folder}: holds no *.json; expected a folder of records")
    for file in files:
        entries = read_json(file)
        for entry in entries if isinstance(entries, list) else []:
            for turn in entry["conversations"]:
                values = turn["value"] if isinstance(turn["value"], list) else [turn["value"]]
                yield from (f" {value}" for value in values)


def build_tokenizer(
    config: TinyConfig, extra_special_tokens: dict[str, str] | None = None
) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that any text has tokens. Extra special tokens are attributes by their names."""
    tokenizer = Tokenizer(tokenizer_models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size,
        special_tokens=["<pad>", "<s>", "</s>", "<image>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts_in(Path(config.texts)), "USER: ASSISTANT:"], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens=extra_special_tokens or {"image_token": "<image>"},
    )


def special_ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """What configs call the tokens that begin and end a text, and padding."""
    return {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}


def build_tiny_llava(config: TinyConfig) -> None:
    tokenizer = build_tokenizer(config)
    text = LlamaConfig(
        hidden_size=config.hidden_size,
        intermediate_size=3 * config.hidden_size,
        num_hidden_layers=config.num_layers,
        num_attention_heads=max(1, config.hidden_size // 48),
        vocab_size=len(tokenizer),
        max_position_embeddings=2048,
        initializer_range=config.init_std,
        **special_ids(tokenizer),
    )
    torch.manual_seed(config.seed)
    if config.resnet_width:
        text.rope_parameters = {"rope_type": "default", "rope_theta": FAR}
        model = llava(resnet_config(config), text, tokenizer, "full")
        start_by_likeness(model)
        save(model, Path(config.output), tokenizer, STRIDE, num_class_tokens=0)
    else:
        model = write_llava(Path(config.output), clip_config(config), text, tokenizer)
    print(f"{config.output}: {model.num_parameters():,} parameters, {len(tokenizer)} tokens")


@torch.no_grad()
def start_by_likeness(model: LlavaForConditionalGeneration) -> None:
    """The first layer starts by looking for what is alike and copying it, the output by saying what the input is.

    What a place of the picture shows, in the space of the words (demo.tower), is then soon found and said; from
    weights at random this model does not learn to find a word of a question in the picture. After "Mimetic
    initialization of self-attention layers" (arXiv 2305.09828). Words are loud beside what layers add, so that they
    stay what they are while those learn.
    """
    words = model.get_input_embeddings().weight
    model.lm_head.weight.copy_(words)
    words.div_(model.config.text_config.initializer_range)
    first = model.model.language_model.layers[0].self_attn
    first.k_proj.weight.copy_(first.q_proj.weight)
    first.o_proj.weight.copy_(first.v_proj.weight.T)


def clip_config(config: TinyConfig) -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=config.vision_size,
        intermediate_size=4 * config.vision_size,
        num_hidden_layers=config.vision_layers,
        num_attention_heads=max(1, config.vision_size // 32),
        image_size=config.picture_px,
        patch_size=config.patch_px,
        initializer_range=config.init_std,
    )


def resnet_config(config: TinyConfig) -> OpenClipConfig:
    """A ResNet as open_clip builds it, of whose four stages LLaVA reads the one before the last."""
    width = config.resnet_width
    vision = {"layers": (1, 1, 2, 1), "width": width, "image_size": config.picture_px}
    return OpenClipConfig(vision=vision, hidden_size=16 * width, num_hidden_layers=5)


def write_llava(
    folder: Path, vision: CLIPVisionConfig, text: LlamaConfig, tokenizer: PreTrainedTokenizerFast
) -> LlavaForConditionalGeneration:
    """A LLaVA of these shapes with random weights, and its processor, as a checkpoint folder."""
    model = llava(vision, text, tokenizer, "default")
    save(model, folder, tokenizer, vision.patch_size, num_class_tokens=1)
    return model


def llava(
    vision: PretrainedConfig, text: LlamaConfig, tokenizer: PreTrainedTokenizerFast, select: str
) -> LlavaForConditionalGeneration:
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=vision,
            text_config=text,
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            vision_feature_select_strategy=select,
        )
    )
    model.generation_config = GenerationConfig(**special_ids(tokenizer))
    return model


def save(
    model: LlavaForConditionalGeneration,
    folder: Path,
    tokenizer: PreTrainedTokenizerFast,
    patch_px: int,
    num_class_tokens: int,
) -> None:
    """
    Args:
        patch_px: side of the square of a picture that becomes one token.
        num_class_tokens: what the tower says beside them, which "default" drops again.
    """
    save_model(Llava(), model, folder, model.state_dict())
    side = model.config.vision_config.image_size
    size = {"height": side, "width": side}
    LlavaProcessor(
        image_processor=CLIPImageProcessor(size=size, crop_size=size, do_center_crop=False),
        tokenizer=tokenizer,
        patch_size=patch_px,
        vision_feature_select_strategy=model.config.vision_feature_select_strategy,
        num_additional_image_tokens=num_class_tokens,
        chat_template=CHAT_TEMPLATE,
    ).save_pretrained(folder)


if __name__ == "__main__":
    run_command(build_tiny_llava, TinyConfig)
