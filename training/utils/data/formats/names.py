"""What the name of a key says about its value."""

import re
from functools import cache
from typing import Literal

Kind = Literal["picture", "media", "structure", "text", "harmless", "unknown"]

_PICTURE = re.compile(
    r"(the)?(imgs?|images?|pictures?|pics?|photos?)"
    r"(list|data|b64|base64|bytes|binary)?((file)?(name|path|file|url|uri|src)s?)?s?"
)
# Numbers and names about pictures, none of which is one.
_ABOUT_PICTURES = re.compile(
    r"(image|img|picture|photo)s?(ids?|idx|index|sizes?|width|height|wh|hw|count|num|hash|md5|sha\d*|sources?|type|"
    r"license|category|dataset|split)|(num|n|has|is|with|no|total)(images?|imgs?|pictures?|photos?|videos?|audios?)"
)
_MEDIA = re.compile(
    r"image|img|picture|photo|pixel|video|audio|speech|waveform|screenshot|thumbnail|^frames?$"
)
_STRUCTURE = re.compile(
    r"system|^(tools?|functions?|toolcalls?|functioncalls?|objects?|bbox(es)?|boxes|box|segmentation|rejectedimages?)$"
    r"|^(sample|loss)?weights?$|^loss(mask|scale|weight)?$|^train(able|ing|ondata|detail)?$|^(token|label|attention|assistant|completion)?masks?$"
    r"|^reasoning(content)?$|^(think|thinking|thought)s?$|^chattemplate(kwargs)?$"
)
# Texts that some format learns from, or chooses by.
TEXT_KEYS = frozenset(
    "conversations conversation messages dialog dialogue prompt question query instruction input problem history "
    "chosen rejected completion completions response responses output outputs rejected_response "
    "rejected_messages rejected_conversations preference_values output_1 output_2 preference human_ranking kto_tag "
    "answer solution ground_truth label score scores caption captions".split()
)
_ORDINARY = {re.sub(r"s$", "", re.sub(r"[^a-z0-9]", "", key)) for key in TEXT_KEYS}
ORIGINS = (
    "origin_dataset",
    "source",
    "origin_pre_dataset",
    "data_source",
    "ds_name",
    "dataset",
    "dataset_name",
)
IDS = ("id", "ID", "idx", "question_id", "prompt_id", "sample_id", "uid", "index")
_HARMLESS = frozenset(
    (
        *ORIGINS,
        *IDS,
        "score",
        "scores",
        "label",
        "answer",
        "solution",
        "ground_truth",
        "models",
        "model",
        "split",
    )
)


@cache
def plain(key: str) -> str:
    """A name without its case, its separators and its plural."""
    return re.sub(r"[^a-z0-9]", "", key.lower())


@cache
def counts_pictures(key: str) -> bool:
    """Whether a number or truth value under this key says that there are pictures."""
    return re.fullmatch(r"(has|with|num|n|no)(images?|imgs?|pictures?|photos?)", plain(key)) is not None


@cache
def kind(key: str) -> Kind:
    """What a key holds by its name; case, separators, plurals and endings such as `_path` do not matter."""
    name = plain(key)
    if key in _HARMLESS or _ABOUT_PICTURES.fullmatch(name):
        return "harmless"
    if _PICTURE.fullmatch(name):
        return "picture"
    if _MEDIA.search(name):
        return "media"
    if _STRUCTURE.search(name):
        return "structure"
    if re.sub(r"(text|list)?s?$", "", name) in _ORDINARY or name in _ORDINARY:
        return "text"
    return "unknown"
