"""Names of the weights of Vision-LLM-Alignment: what transformers and this project call them."""

from collections.abc import Mapping

from torch import Tensor

from ..data.record import DataError

HEAD = "v_head."
BACKBONE = "rwtranrsformer."  # as the original spells it
PROJECTOR, NEW_PROJECTOR = "projection.", "model.multi_modal_projector."
QWEN_TOWER = "vis_encoder.attn_pool."  # its resampler, which no other tower has
FROM_SCRATCH = {
    "vis_encoder.": "model.vision_tower.",
    PROJECTOR: NEW_PROJECTOR,
    "lang_embed.": "model.language_model.embed_tokens.",
    "lang_decoder.model.": "model.language_model.",
    "lang_decoder.lm_head.": "lm_head.",
}
VIT = {"vis_layer.": "layer.", "projection.": "project."}
PERCEIVER = {
    "pos_embed": "positions",
    "query": "queries",
    "kv_proj.": "features.",
    "attn.": "attention.",
    "ln_q.": "query_norm.",
    "ln_kv.": "feature_norm.",
    "projection.": "output.",
}


def renamed(backbone: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a from-scratch model by the names of a LLaVA; those of any other model are left as they are.

    Raises:
        DataError: its tower is Qwen-VL's.
    """
    if f"{QWEN_TOWER}query" in backbone:
        raise DataError(
            f"--weights: hold Qwen-VL's vision tower ({QWEN_TOWER}*), which is not converted: transformers has no "
            "such tower (a ViT-bigG at 448 pixels with a resampler); expected a CLIP. Use the original for this "
            "model, or train one with another tower anew"
        )
    parts = PERCEIVER if f"{PROJECTOR}query" in backbone else VIT
    names = {PROJECTOR + old: NEW_PROJECTOR + new for old, new in parts.items()} | FROM_SCRATCH
    return {_rename(key, names): tensor for key, tensor in backbone.items()}


def _rename(key: str, names: Mapping[str, str]) -> str:
    for old, new in names.items():
        if key.startswith(old):
            return new + key.removeprefix(old)
    return key
