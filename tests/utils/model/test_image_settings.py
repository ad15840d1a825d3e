"""How many tokens a picture becomes, and what a user may set of an image processor."""

import logging

import numpy as np
import pytest
import torch
from PIL import Image

from demo.model import CHAT_TEMPLATE
from tests.tiny_families import BUILDERS, QWEN_IMAGE, qwen, tokenizer
from training.utils.config.flags import ConfigError
from training.utils.config.model_config import ModelConfig
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.files.model_folder import write_extras
from training.utils.loop.prepare import build_encoder
from training.utils.model.build_model import FAMILIES
from training.utils.model.family import Family
from training.utils.model.image_len import ImageLengths
from training.utils.model.image_settings import apply_image_flags, bounds, is_scaled, pixel_limit
from training.utils.model.other import OtherFamily
from training.utils.model.same_reading import reads_the_same

import transformers as hf  # isort: skip  (after `training` has repaired torchvision)

SIZES = [  # width, height
    *[(1, 1), (1, 200), (200, 1), (2, 400), (400, 2), (15, 15), (33, 31), (64, 64), (97, 64), (64, 97)],
    *[
        (30, 100),
        (129, 128),
        (300, 4),
        (17, 900),
        (333, 500),
        (480, 640),
        (640, 480),
        (1000, 999),
        (1333, 800),
    ],
    (1920, 1080),
]
PROCESSORS = [name for name in BUILDERS if name.partition(":")[2] in ("", "perceiver", "open_clip")]


def expanded(family: Family, processor, size: tuple[int, int]) -> int:
    """Tokens that the processor makes of a picture of that size."""
    return len(family.image_inputs(processor, [Image.new("RGB", size)])[1][0])


def settings(**flags) -> ModelConfig:
    return ModelConfig(from_checkpoint="x", **flags)


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_size_says_how_many_tokens_a_picture_becomes(name):
    family, processor = FAMILIES[name.partition(":")[0]], BUILDERS[name][0]()[1]
    # Of a thinner picture than this Pixtral's processor leaves no pixel, and raises.
    sizes = [size for size in SIZES if name != "mistral3" or max(size) <= 64 * min(size)]
    assert [family.image_len(processor, size) for size in sizes] == [
        expanded(family, processor, size) for size in sizes
    ]


@pytest.mark.parametrize(
    "name", ["llava", "llava_next", "qwen2_5_vl", "internvl", "idefics3", "smolvlm", "gemma3"]
)
def test_no_processor_runs_where_its_formula_is_right(name, monkeypatch):
    family, processor = FAMILIES[name], BUILDERS[name][0]()[1]
    expected = expanded(family, processor, (321, 123))
    count = ImageLengths(family, processor)
    monkeypatch.setattr(type(family), "image_inputs", lambda *_: pytest.fail("the processor ran"))
    assert count((321, 123)) == expected


@pytest.mark.parametrize("wrong", [lambda size: size[0], lambda size: 1 / 0])
def test_a_formula_that_is_wrong_is_not_used(wrong, monkeypatch):
    family, processor = FAMILIES["qwen2_5_vl"], qwen("qwen2_5_vl")[1]
    monkeypatch.setattr(type(family), "image_len_formula", lambda *_: wrong)
    count = ImageLengths(family, processor)
    assert [count(size) for size in SIZES] == [expanded(family, processor, size) for size in SIZES]


def test_a_picture_that_a_processor_refuses_is_one_error():
    with pytest.raises(
        DataError, match="the processor takes no picture of 900 x 3 pixels .*200.*; resize or crop"
    ):
        FAMILIES["qwen2_5_vl"].image_len(qwen("qwen2_5_vl")[1], (900, 3))


# -- pixels -------------------------------------------------------------------------------------------


def pixtral():
    words = tokenizer(image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]")
    images = hf.PixtralImageProcessor(size={"longest_edge": 256}, patch_size={"height": 16, "width": 16})
    return hf.PixtralProcessor(images, words, patch_size=16)


def glm():
    words = tokenizer(image_token="<|image|>", video_token="<|video|>")
    size = {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 600}  # counted in both frames of a picture
    return hf.Glm4vProcessor(hf.Glm4vImageProcessor(size=size), words, hf.Glm4vVideoProcessor())


def tiny(name):
    return BUILDERS[name][0]()[1]


def tiles(name):
    """Up to 4 x 4 tiles."""
    processor = tiny(name)
    processor.image_processor.size = hf.image_utils.SizeDict(longest_edge=128)
    return processor


LIMITED = {  # a processor, and the most pixels that it keeps of a picture
    "qwen2_5_vl": (lambda: tiny("qwen2_5_vl"), 64 * 64),
    "qwen3_vl": (lambda: tiny("qwen3_vl"), 64 * 64),
    "glm4v": (glm, 28 * 28 * 300),
    "pixtral": (pixtral, 256 * 256),
    "idefics3": (lambda: tiles("idefics3"), 128 * 128),
    "smolvlm": (lambda: tiles("smolvlm"), 128 * 128),
    "internvl": (lambda: tiny("internvl"), 4 * 32 * 32),
}


@pytest.mark.parametrize("name", LIMITED)
def test_the_limit_of_a_processor_is_read_from_its_fields(name):
    build, pixels = LIMITED[name]
    limit = pixel_limit(build())
    assert abs(limit.pixels - pixels) <= 0.01 * pixels


@pytest.mark.parametrize("name", LIMITED)
def test_a_picture_keeps_no_more_pixels_than_asked(name, tmp_path):
    build, pixels = LIMITED[name]
    family, processor = FAMILIES.get(name, OtherFamily()), build()
    before = expanded(family, processor, (1200, 1200))
    apply_image_flags(processor, family, settings(max_pixels=pixels // 4), keep_limit=False)
    assert pixel_limit(processor).pixels <= pixels // 4
    fewer = expanded(family, processor, (1200, 1200))
    assert fewer < before
    assert is_scaled(processor, (1200, 1200)) and not is_scaled(processor, (16, 16))

    processor.save_pretrained(tmp_path)  # whatever loads the model later sees the same pixels
    again = type(processor).from_pretrained(tmp_path)
    assert bounds(again) == bounds(processor)
    assert expanded(family, again, (1200, 1200)) == fewer


@pytest.mark.parametrize("name", LIMITED)
def test_a_published_limit_is_lowered_until_one_picture_leaves_room_for_an_answer(name):
    build, pixels = LIMITED[name]
    family, processor = FAMILIES.get(name, OtherFamily()), build()
    large = [(900, 900), (1200, 300), (300, 1200)]
    whole = max(expanded(family, processor, size) for size in large)
    apply_image_flags(processor, family, settings(max_seq_len=4 * whole), keep_limit=False)
    assert abs(pixel_limit(processor).pixels - pixels) <= 0.01 * pixels  # there was room
    apply_image_flags(processor, family, settings(max_seq_len=whole), keep_limit=True)
    assert abs(pixel_limit(processor).pixels - pixels) <= 0.01 * pixels  # trained so
    apply_image_flags(processor, family, settings(max_seq_len=whole), keep_limit=False)
    lowered = max(expanded(family, processor, size) for size in large)
    assert 0.4 * whole <= lowered <= 0.75 * whole


def test_qwen_at_its_published_limits():
    # Qwen2.5-VL: 28 x 28 pixels a token, at most 12,845,056 pixels; 4000 x 3000 photos were 15,301 tokens
    processor = tiny("qwen2_5_vl")
    published = hf.Qwen2VLImageProcessor(size={"shortest_edge": 3136, "longest_edge": 12_845_056})
    processor.image_processor = published
    family = FAMILIES["qwen2_5_vl"]
    assert ImageLengths(family, processor)((4000, 3000)) == 15_301
    apply_image_flags(processor, family, settings(max_seq_len=2048), keep_limit=False)
    assert pixel_limit(processor).pixels == 1536 * 28 * 28
    assert 1400 <= ImageLengths(family, processor)((4000, 3000)) <= 1536
    assert is_scaled(processor, (1920, 1080)) and not is_scaled(processor, (1280, 720))
    assert (
        ImageLengths(family, processor)((1280, 720)) == 46 * 26
    )  # 1288 x 728: untouched but for whole tokens


def test_fewest_pixels():
    family, processor = FAMILIES["qwen2_5_vl"], tiny("qwen2_5_vl")
    assert expanded(family, processor, (8, 8)) == 1
    apply_image_flags(processor, family, settings(min_pixels=32 * 32), keep_limit=True)
    assert expanded(family, processor, (8, 8)) == 4  # 16 x 16 pixels a token
    with pytest.raises(DataError, match="--min_pixels 5000: expected at most 4096"):
        apply_image_flags(processor, family, settings(min_pixels=5000), keep_limit=True)
    with pytest.raises(DataError, match="--min_pixels: PixtralImageProcessor has no such setting"):
        apply_image_flags(pixtral(), OtherFamily(), settings(min_pixels=64), keep_limit=True)


@pytest.mark.parametrize("name", ["llava", "llava_next", "llama-3.2-vision", "gemma3"])
def test_a_family_whose_pictures_have_one_size_refuses_a_limit(name):
    family, processor = FAMILIES[name], tiny(name)
    assert pixel_limit(processor) is None and not is_scaled(processor, (4000, 3000))
    with pytest.raises(
        DataError, match=f"{type(processor.image_processor).__name__} brings every picture to"
    ):
        apply_image_flags(processor, family, settings(max_pixels=1000), keep_limit=False)


def test_the_start_says_how_many_pixels_a_picture_keeps(caplog):
    with caplog.at_level(logging.INFO):
        apply_image_flags(tiny("qwen2_5_vl"), FAMILIES["qwen2_5_vl"], settings(), keep_limit=False)
    assert "a picture keeps at most 4,096 pixels" in caplog.text and "--max_pixels" in caplog.text


def test_a_reward_model_keeps_its_own_pictures():
    config = PPOConfig(
        from_checkpoint="x",
        data_path="d",
        output_dir="o",
        reward_model_ckpt_path=["r"],
        max_pixels=5,
        min_pixels=2,
        image_aspect_ratio="pad",
    ).for_another_model
    assert (config.max_pixels, config.min_pixels, config.image_aspect_ratio) == (0, 0, "auto")


def chatting(processor):
    processor.chat_template = CHAT_TEMPLATE.replace("<image>", QWEN_IMAGE)
    return processor


def test_a_stage_keeps_the_limit_that_the_stage_before_trained_with(tmp_path):
    model, processor = qwen("qwen2_5_vl")
    model.config.save_pretrained(tmp_path)
    chatting(processor).save_pretrained(tmp_path)

    def limit(**flags) -> int:
        config = ModelConfig(from_checkpoint=str(tmp_path), **flags)
        encoder = build_encoder(config, tmp_path)
        return pixel_limit(encoder.processor).pixels

    assert limit() == 64 * 64
    assert limit(max_seq_len=16) == 12 * 16 * 16
    assert limit(max_seq_len=16, max_pixels=1024) == 1024
    write_extras(tmp_path, {}, {"template": "auto"})
    assert limit(max_seq_len=16) == 64 * 64
    assert limit(max_seq_len=16, max_pixels=1024) == 1024


def test_a_reward_model_that_keeps_fewer_pixels_reads_other_pictures():
    def encoder(**flags) -> Encoder:
        processor = chatting(tiny("qwen2_5_vl"))
        apply_image_flags(processor, FAMILIES["qwen2_5_vl"], settings(**flags), keep_limit=True)
        return Encoder(processor, FAMILIES["qwen2_5_vl"], "auto", 512)

    assert reads_the_same(encoder(), encoder())
    assert not reads_the_same(encoder(), encoder(max_pixels=8192))


@pytest.mark.parametrize("flags", [{"max_pixels": -1}, {"min_pixels": -1}, {"image_aspect_ratio": "anyres"}])
def test_flags_out_of_range(flags):
    with pytest.raises(ConfigError, match=f"--{next(iter(flags))}"):
        settings(**flags)


# -- padding ------------------------------------------------------------------------------------------


def cropping_llava(**images) -> hf.LlavaProcessor:
    """With the image processor of LLaVA-1.5 as published, smaller."""
    crop = {"height": 32, "width": 32}
    images = hf.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=crop, **images)
    return hf.LlavaProcessor(
        images,
        tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )


@pytest.mark.parametrize("size", [(96, 32), (32, 96), (67, 40), (50, 50)])
def test_a_picture_is_padded_in_the_mean_colour_as_llava_was_trained(size, tmp_path):
    rng = np.random.default_rng(0)
    pixels = np.kron(rng.integers(0, 255, (3, 3, 3)), np.ones((40, 40, 1))).astype(np.uint8)
    image = Image.fromarray(pixels).resize(size)
    processor, family = cropping_llava(), FAMILIES["llava"]
    apply_image_flags(processor, family, settings(image_aspect_ratio="pad"), keep_limit=False)

    # By hand: CLIP's mean colour all around, the picture in the middle, and then the published processor.
    side = max(size)
    square = np.full(
        (side, side, 3), [int(255 * mean) for mean in (0.48145466, 0.4578275, 0.40821073)], np.uint8
    )
    left, top = (side - size[0]) // 2, (side - size[1]) // 2
    square[top : top + size[1], left : left + size[0]] = np.asarray(image)
    cropping = cropping_llava().image_processor
    expected = cropping(Image.fromarray(square), return_tensors="pt")["pixel_values"]

    found, (ids,) = family.image_inputs(processor, [image])
    torch.testing.assert_close(found["pixel_values"], expected)
    assert len(ids) == 16
    if size[0] != size[1]:
        cropped = cropping(image, return_tensors="pt")["pixel_values"]
        assert not torch.allclose(cropped, expected, atol=0.1)

    processor.save_pretrained(tmp_path)  # transformers alone pads from then on
    again = hf.AutoProcessor.from_pretrained(tmp_path)
    torch.testing.assert_close(family.image_inputs(again, [image])[0]["pixel_values"], expected)
    apply_image_flags(again, family, settings(), keep_limit=True)
    torch.testing.assert_close(family.image_inputs(again, [image])[0]["pixel_values"], expected)


@pytest.mark.parametrize("name", ["llava", "llava_next", "qwen2_5_vl", "gemma3"])  # the tiny LLaVA squeezes
def test_padding_is_refused_where_nothing_is_cut_off(name):
    processor = tiny(name)
    with pytest.raises(DataError, match=f"pad: {type(processor.image_processor).__name__} .*; leave it out"):
        apply_image_flags(processor, FAMILIES[name], settings(image_aspect_ratio="pad"), keep_limit=False)
