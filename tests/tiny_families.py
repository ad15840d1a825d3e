"""A tiny model of each family: the real classes with random weights, a real tokenizer and processor."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import open_clip
import torch
from tokenizers import AddedToken

from demo.model import CHAT_TEMPLATE, TinyConfig, build_tokenizer, special_ids
from training.utils.model.assemble import AssembleConfig, assemble

import transformers as hf  # isort: skip  (after `training` has repaired torchvision)

SAMPLES = Path(__file__).parent.parent / "data" / "samples"
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
IMAGE_PX = 32
HIDDEN = 48  # size of the language models; four heads share it
QWEN_IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


def tokenizer(**extra_special_tokens: str):
    config = TinyConfig(output="", texts=str(SAMPLES), vocab_size=400)
    return build_tokenizer(config, extra_special_tokens)


def text_config(config_class, words, **more):
    settings = {
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": HIDDEN // 4,
        "vocab_size": len(words),
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        **special_ids(words),
    }
    return config_class(**settings | more)


def clip_config():
    return hf.CLIPVisionConfig(**VISION, image_size=IMAGE_PX, patch_size=8, initializer_range=0.2)


def clip_images(image_class=None, **more):
    size = {"height": IMAGE_PX, "width": IMAGE_PX}
    return (image_class or hf.CLIPImageProcessor)(size=size, crop_size=size, **more)


def llava():
    words = tokenizer()
    processor = hf.LlavaProcessor(
        clip_images(do_center_crop=False),
        words,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    text = text_config(hf.LlamaConfig, words)
    config = hf.LlavaConfig(
        vision_config=clip_config(), text_config=text, image_token_index=processor.image_token_id
    )
    return hf.LlavaForConditionalGeneration(config), processor


def llava_next(text_class=None):
    words = tokenizer()
    pinpoints = [[32, 64], [64, 32], [64, 64]]
    images = hf.LlavaNextImageProcessor(
        size={"shortest_edge": IMAGE_PX},
        crop_size={"height": IMAGE_PX, "width": IMAGE_PX},
        image_grid_pinpoints=pinpoints,
    )
    processor = hf.LlavaNextProcessor(
        images, words, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1
    )
    config = hf.LlavaNextConfig(
        vision_config=clip_config(),
        text_config=text_config(text_class or hf.LlamaConfig, words),
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=pinpoints,
    )
    model = hf.LlavaNextForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.image_newline)
    return model, processor


def mllama():
    words = tokenizer(python_tag="<|python_tag|>", image_token="<|image|>")
    images = hf.MllamaImageProcessor(size={"height": IMAGE_PX, "width": IMAGE_PX}, max_image_tiles=2)
    processor = hf.MllamaProcessor(images, words)
    vision = hf.models.mllama.configuration_mllama.MllamaVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_global_layers=1,
        attention_heads=2,
        vision_output_dim=96,
        intermediate_layers_indices=[0, 1],
        image_size=IMAGE_PX,
        patch_size=8,
        max_num_tiles=2,
        supported_aspect_ratios=[[1, 1], [1, 2], [2, 1]],
        initializer_range=0.2,
    )
    text_class = hf.models.mllama.configuration_mllama.MllamaTextConfig
    text = text_config(
        text_class,
        words,
        num_hidden_layers=3,
        cross_attention_layers=[1],
        vocab_size=processor.image_token_id,  # as published: lm_head has no row for the image token
    )
    config = hf.MllamaConfig(
        vision_config=vision, text_config=text, image_token_index=processor.image_token_id
    )
    model = hf.MllamaForConditionalGeneration(config)
    for name, parameter in model.named_parameters():
        if "gate" in name:
            torch.nn.init.constant_(parameter, 0.5)  # they start at 0: the images would change nothing
    return model, processor


def mrope():
    sections = [HIDDEN // 24 + rest for rest in (HIDDEN // 8 % 3, 0, 0)]  # of half a head
    return {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": sections}


MROPE_SIZE = {"shortest_edge": 16 * 16, "longest_edge": 64 * 64}


def qwen(version):
    words = tokenizer(
        image_token="<|image_pad|>",
        video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>",
        vision_end_token="<|vision_end|>",
    )
    images = hf.Qwen2VLImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, size=MROPE_SIZE)
    prefix = {
        "qwen2_vl": "Qwen2VL",
        "qwen2_5_vl": "Qwen2_5_VL",
        "qwen3_vl": "Qwen3VL",
        "qwen3_vl_moe": "Qwen3VLMoe",
    }[version]
    is_third = version.startswith("qwen3")
    videos = hf.Qwen3VLVideoProcessor() if is_third else hf.Qwen2VLVideoProcessor()
    processor = getattr(hf, f"{prefix.removesuffix('Moe')}Processor")(images, words, videos)
    vision = {"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2, "initializer_range": 0.2}
    vision |= {
        "qwen2_vl": {"embed_dim": 32, "hidden_size": HIDDEN, "mlp_ratio": 2},
        "qwen2_5_vl": {"fullatt_block_indexes": [1], "window_size": 32},
    }.get(version, {"deepstack_visual_indexes": [0], "num_position_embeddings": 64})
    if version != "qwen2_vl":
        vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": HIDDEN}
    config_class = getattr(hf, f"{prefix}Config")
    more = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "mlp_only_layers": []}
    more |= {"norm_topk_prob": True}
    text = text_config(
        config_class.sub_configs["text_config"],
        words,
        rope_parameters=mrope() | ({"mrope_interleaved": True} if is_third else {}),
        **(more if version == "qwen3_vl_moe" else {}),
    )
    config = config_class(
        vision_config=vision,
        text_config=text.to_dict(),
        image_token_id=processor.image_token_id,
        video_token_id=processor.video_token_id,
        vision_start_token_id=words.convert_tokens_to_ids("<|vision_start|>"),
        vision_end_token_id=words.convert_tokens_to_ids("<|vision_end|>"),
    )
    return getattr(hf, f"{prefix}ForConditionalGeneration")(config), processor


def glm4v():
    marks = {
        f"{side}_{kind}": f"<|{side}_of_{kind}|>" for side in ("begin", "end") for kind in ("image", "video")
    }
    words = tokenizer(image_token="<|image|>", video_token="<|video|>", **marks)
    images = hf.Glm4vImageProcessor(patch_size=8, merge_size=2, temporal_patch_size=2, size=MROPE_SIZE)
    processor = hf.Glm4vProcessor(images, words, hf.Glm4vVideoProcessor())
    rotary = mrope() | {"partial_rotary_factor": 1.0}
    text = text_config(hf.Glm4vConfig.sub_configs["text_config"], words, rope_parameters=rotary)
    vision = {"depth": 2, "num_heads": 2, "patch_size": 8, "spatial_merge_size": 2, "initializer_range": 0.2}
    vision |= {"hidden_size": 32, "intermediate_size": 64, "out_hidden_size": HIDDEN, "image_size": 64}
    ids = {
        f"{kind}_{place}_token_id": words.convert_tokens_to_ids(f"<|{side}_of_{kind}|>")
        for kind in ("image", "video")
        for place, side in (("start", "begin"), ("end", "end"))
    }
    config = hf.Glm4vConfig(
        vision_config=vision,
        text_config=text.to_dict(),
        image_token_id=words.convert_tokens_to_ids("<|image|>"),
        video_token_id=words.convert_tokens_to_ids("<|video|>"),
        **ids,
    )
    return hf.Glm4vForConditionalGeneration(config), processor


def llava_onevision():
    words = tokenizer(image_token="<image>", video_token="<video>")
    size, pinpoints = {"height": IMAGE_PX, "width": IMAGE_PX}, [[32, 64], [64, 32], [64, 64]]
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessor(size=size, image_grid_pinpoints=pinpoints),
        words,
        hf.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=siglip_config().to_dict(),
        text_config=text_config(hf.Qwen2Config, words).to_dict(),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=pinpoints,
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def pixtral(prefix, merge_size, **more):
    """Pixtral's tower in a LLaVA, or in a Mistral 3, which merges its patches."""
    tokens = {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"}
    words = tokenizer(**tokens)
    images = hf.PixtralImageProcessor(patch_size=8, size={"longest_edge": 64})
    processor = hf.PixtralProcessor(images, words, patch_size=8, spatial_merge_size=merge_size, **tokens)
    vision = hf.PixtralVisionConfig(**VISION, image_size=64, patch_size=8, initializer_range=0.2)
    config = getattr(hf, f"{prefix}Config")(
        vision_config=vision.to_dict(),
        text_config=text_config(hf.MistralConfig, words, sliding_window=None).to_dict(),
        image_token_index=words.convert_tokens_to_ids("[IMG]"),
        vision_feature_layer=-1,
        **more,
    )
    return getattr(hf, f"{prefix}ForConditionalGeneration")(config), processor


def idefics2():
    words = tokenizer(
        image_token="<image>",
        image_boundary_token="<fake_token_around_image>",
        end_of_utterance_token="<end_of_utterance>",
    )
    images = hf.Idefics2ImageProcessor(
        size={"longest_edge": 64, "shortest_edge": 32}, do_image_splitting=False
    )
    processor = hf.Idefics2Processor(images, words, image_seq_len=4)
    resampler = {"resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2}
    config = hf.Idefics2Config(
        vision_config={**VISION, "image_size": 64, "patch_size": 8, "initializer_range": 0.2},
        text_config=text_config(hf.MistralConfig, words, sliding_window=None).to_dict(),
        perceiver_config=resampler | {"resampler_head_dim": HIDDEN // 4, "num_key_value_heads": 1},
        image_token_id=words.convert_tokens_to_ids("<image>"),
    )
    return hf.Idefics2ForConditionalGeneration(config), processor


def siglip_config(**more):
    return hf.SiglipVisionConfig(**VISION, image_size=IMAGE_PX, patch_size=8, **more)


def line_breaks(longest):
    """In Gemma's real vocabulary, runs of line breaks are tokens."""
    return [AddedToken("\n" * length, normalized=False, special=False) for length in range(1, longest + 1)]


def paligemma():
    words = tokenizer(image_token="<image>")
    words.add_tokens(line_breaks(1))
    images = hf.SiglipImageProcessor(size={"height": IMAGE_PX, "width": IMAGE_PX})
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, words)  # adds its tokens for places and shapes
    config = hf.PaliGemmaConfig(
        vision_config=siglip_config(projection_dim=HIDDEN).to_dict(),
        text_config=text_config(hf.GemmaConfig, words).to_dict(),
        image_token_index=words.convert_tokens_to_ids("<image>"),
        projection_dim=HIDDEN,
        hidden_size=HIDDEN,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def internvl():
    words = tokenizer(
        context_image_token="<IMG_CONTEXT>",
        start_image_token="<img>",
        end_image_token="</img>",
        video_token="<video>",
    )
    size = {"height": IMAGE_PX, "width": IMAGE_PX}
    images = hf.GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=4)
    processor = hf.InternVLProcessor(images, words, hf.InternVLVideoProcessor(size=size), image_seq_length=4)
    vision = hf.InternVLVisionConfig(
        **VISION, image_size=[IMAGE_PX, IMAGE_PX], patch_size=[8, 8], initializer_range=0.2
    )
    text = text_config(hf.Qwen2Config, words)
    config = hf.InternVLConfig(
        vision_config=vision, text_config=text, image_token_id=processor.image_token_id, image_seq_length=4
    )
    return hf.InternVLForConditionalGeneration(config), processor


def idefics(smol):
    words = tokenizer(
        fake_image_token="<fake_token_around_image>",
        global_image_token="<global-img>",
        end_of_utterance_token="<end_of_utterance>",
        video_token="<video>",
        **{f"row_{i}_{j}": f"<row_{i}_col_{j}>" for i in (1, 2) for j in (1, 2)},
    )
    settings = {"size": {"longest_edge": 64}, "max_image_size": {"longest_edge": IMAGE_PX}}
    if smol:
        videos = hf.SmolVLMVideoProcessor(**settings, video_sampling={"max_frames": 2, "fps": 1})
        processor = hf.SmolVLMProcessor(
            hf.SmolVLMImageProcessor(**settings), words, videos, image_seq_len=4, chat_template="x"
        )
    else:
        processor = hf.Idefics3Processor(hf.Idefics3ImageProcessor(**settings), words, image_seq_len=4)
    prefix = "SmolVLM" if smol else "Idefics3"
    vision = {**VISION, "image_size": IMAGE_PX, "patch_size": 8, "initializer_range": 0.2}
    config = getattr(hf, f"{prefix}Config")(
        vision_config=vision,
        text_config=text_config(hf.LlamaConfig, words).to_dict(),
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=words.pad_token_id,
        tie_word_embeddings=False,
    )
    return getattr(hf, f"{prefix}ForConditionalGeneration")(config), processor


def gemma3():
    words = tokenizer(
        image_token="<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    words.add_tokens(line_breaks(4))
    images = hf.Gemma3ImageProcessor(size={"height": IMAGE_PX, "width": IMAGE_PX})
    processor = hf.Gemma3Processor(images, words, image_seq_length=4)
    text = text_config(
        hf.Gemma3TextConfig,
        words,
        query_pre_attn_scalar=HIDDEN // 4,
        sliding_window=64,
        layer_types=["sliding_attention", "full_attention"],
    )
    config = hf.Gemma3Config(
        text_config=text,
        vision_config=siglip_config(),
        mm_tokens_per_image=4,
        image_token_index=words.image_token_id,
        boi_token_index=words.boi_token_id,
        eoi_token_index=words.eoi_token_id,
    )
    model = hf.Gemma3ForConditionalGeneration(config)
    torch.nn.init.normal_(model.model.multi_modal_projector.mm_input_projection_weight)  # zero at first
    return model, processor


def aya_vision():
    """Of no family of the table."""
    marks = {"p": "<|IMG_PATCH|>", "s": "<|START_OF_IMG|>", "e": "<|END_OF_IMG|>", "lb": "<|IMG_LINE_BREAK|>"}
    words = tokenizer(image_token="<image>", t="TILE", tg="TILE_GLOBAL", **marks)
    size = {"height": IMAGE_PX, "width": IMAGE_PX}
    images = hf.GotOcr2ImageProcessor(size=size, crop_to_patches=True, min_patches=1, max_patches=4)
    processor = hf.AyaVisionProcessor(images, words, patch_size=8, img_size=IMAGE_PX, downsample_factor=2)
    config = hf.AyaVisionConfig(
        vision_config=siglip_config().to_dict(),
        text_config=text_config(hf.Cohere2Config, words).to_dict(),
        image_token_index=words.convert_tokens_to_ids("<|IMG_PATCH|>"),
        downsample_factor=2,
        adapter_layer_norm_eps=1e-6,
    )
    return hf.AyaVisionForConditionalGeneration(config), processor


def write_parts(folder: Path) -> tuple[str, str]:
    """Folders of a tiny LLaMA with its tokenizer, and of a tiny CLIP with its image processor."""
    words = build_tokenizer(TinyConfig(output="", texts=str(SAMPLES), vocab_size=400), {"x": "<unused>"})
    lm, vision = str(folder / "lm"), str(folder / "clip")
    hf.LlamaForCausalLM(text_config(hf.LlamaConfig, words)).save_pretrained(lm)
    words.save_pretrained(lm)
    hf.CLIPVisionModel(clip_config()).save_pretrained(vision)
    clip_images(do_center_crop=False).save_pretrained(vision)
    return lm, vision


def from_scratch(vis_proj: str, mmca: bool = False, vision: str | None = None):
    """A model assembled from parts, as a user does it."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        lm, clip = write_parts(folder)
        parts = AssembleConfig(lm, vision or clip, vis_proj, num_queries=4, enable_mmca_attention=mmca)
        assemble(parts, str(folder / "whole"), seed=0)
        processor = hf.LlavaProcessor.from_pretrained(folder / "whole")
        return hf.AutoModelForImageTextToText.from_pretrained(folder / "whole"), processor


OPEN_CLIP = {
    "vit": {"image_size": IMAGE_PX, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "resnet": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None},
    "siglip": {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token", "timm_proj": "none"},
    "convnext": {"image_size": 64, "timm_model_name": "test_convnext", "timm_proj": "linear"},
}


def open_clip_name(kind: str) -> str:
    """A tiny architecture that open_clip knows from then on."""
    vision = OPEN_CLIP[kind]
    text = {"context_length": 8, "vocab_size": 16, "width": 16, "heads": 2, "layers": 1}
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"tiny-{kind}.json"
        file.write_text(json.dumps({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}))
        open_clip.add_model_config(file)
    return f"open_clip:tiny-{kind}"


# By the name of the family, and a variant of it: how to build one, and what a chat template writes for an image.
BUILDERS = {
    "llava": (llava, "<image>"),
    "llava_next": (llava_next, "<image>"),
    "llama-3.2-vision": (mllama, "<|image|>"),
    "llava:pixtral": (lambda: pixtral("Llava", 1, vision_feature_select_strategy="full"), "[IMG]"),
    "llava_onevision": (llava_onevision, "<image>"),
    "mistral3": (lambda: pixtral("Mistral3", 2, spatial_merge_size=2), "[IMG]"),
    "qwen2_vl": (lambda: qwen("qwen2_vl"), QWEN_IMAGE),
    "qwen2_5_vl": (lambda: qwen("qwen2_5_vl"), QWEN_IMAGE),
    "qwen3_vl": (lambda: qwen("qwen3_vl"), QWEN_IMAGE),
    "qwen3_vl_moe": (lambda: qwen("qwen3_vl_moe"), QWEN_IMAGE),
    "glm4v": (glm4v, "<|begin_of_image|><|image|><|end_of_image|>"),
    "internvl": (internvl, "<IMG_CONTEXT>"),
    "idefics3": (lambda: idefics(smol=False), "<image>"),
    "smolvlm": (lambda: idefics(smol=True), "<image>"),
    "idefics2": (idefics2, "<image>"),
    "gemma3": (gemma3, "<start_of_image>"),
    "paligemma": (paligemma, "<image>"),
    "default:baseline": (lambda: from_scratch("baseline"), "<image>"),
    "default:vit": (lambda: from_scratch("vit"), "<image>"),
    "default:perceiver": (lambda: from_scratch("perceiver"), "<image>"),
    "default:mlp2x_gelu": (lambda: from_scratch("mlp2x_gelu"), "<image>"),
    "default:mmca": (lambda: from_scratch("baseline", mmca=True), "<image>"),
    "default:open_clip": (lambda: from_scratch("baseline", vision=open_clip_name("vit")), "<image>"),
}


def build_tiny(name: str, folder: Path) -> Path:
    return save_tiny(*BUILDERS[name], folder)


def save_tiny(build, image_text: str, folder: Path) -> Path:
    """Writes what `build` makes, with a chat template that writes `image_text` for an image."""
    torch.manual_seed(0)
    model, processor = build()
    processor.chat_template = CHAT_TEMPLATE.replace("<image>", image_text)
    model.generation_config = hf.GenerationConfig(**special_ids(processor.tokenizer))
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
