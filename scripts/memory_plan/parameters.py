"""Parameters of a model by part, and those that a stage trains."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModelForImageTextToText, PreTrainedModel

from scripts.memory_plan.config import PlanConfig
from training.utils.data.record import DataError
from training.utils.model.family import Family
from training.utils.model.lora import add_lora
from training.utils.model.read_config import read_config


@dataclass(frozen=True)
class Parameters:
    """How many, by part; `trained` are those that get gradients."""

    vision: int
    projector: int
    language: int
    trained: int

    @property
    def total(self) -> int:
        return self.vision + self.projector + self.language


def build_on_meta(folder: str | Path) -> PreTrainedModel:
    """The model of a config, without memory for its weights.

    Raises:
        DataError: it is no vision-language model.
    """
    config = read_config(folder)
    if type(config) not in AutoModelForImageTextToText._model_mapping:
        raise DataError(
            f"{folder}: is a {config.model_type}, which reads no pictures; expected a vision-language model, as "
            "training/sft/train_sft.py assembles one from a language model and a vision tower"
        )
    with torch.device("meta"):
        return AutoModelForImageTextToText.from_config(config)


def count(model: PreTrainedModel, family: Family, config: PlanConfig, has_lm_head: bool) -> Parameters:
    """Parameters of a model, and how many of them a stage trains: always the projector, see `family.freeze`."""

    def size(parameters) -> int:
        return sum(p.numel() for p in {id(p): p for p in parameters}.values())

    projector = {
        id(p): p
        for part in family.projector(model)
        for p in (part.parameters() if isinstance(part, nn.Module) else [part])
    }
    tower = [p for p in family.tower(model).parameters() if id(p) not in projector]
    language = size(model.parameters()) - size(tower) - size(projector.values())
    if not has_lm_head and model.lm_head.weight is not model.get_input_embeddings().weight:
        language -= model.lm_head.weight.numel()  # set aside in CPU memory
    trained = size(projector.values()) + (size(tower) if config.vis_encoder_update else 0)
    if config.lang_lora_dim:
        part = family.language_model(model)
        add_lora(part, config.lang_lora_dim, 0, config.lang_lora_module_name)
        trained += size(p for name, p in part.named_parameters() if ".lora_" in name)
    else:
        trained += language
    return Parameters(size(tower), size(projector.values()), language, trained)
