"""The memory plan of a stage: each model's share, and the most that is there at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from transformers import PretrainedConfig

from scripts.memory_plan import activations
from scripts.memory_plan.config import MODELS, Model, PlanConfig
from scripts.memory_plan.engines import EngineMemory, engine_memory
from scripts.memory_plan.parameters import Parameters, build_on_meta, count
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.model.build_model import get_family
from training.utils.model.read_config import read_config


@dataclass(frozen=True)
class Planned:
    """A model of a stage, with bytes on each GPU."""

    model: Model
    parameters: Parameters
    engine: EngineMemory
    activations: float


@lru_cache
def text_config(checkpoint: str) -> PretrainedConfig:
    """Of the language model in a checkpoint."""
    return read_config(resolve_checkpoint(checkpoint)).get_text_config()


@lru_cache
def parameters_of(
    checkpoint: str, has_lm_head: bool, vision: bool, lora_dim: int, lora_name: str
) -> Parameters:
    """Counted once, however many settings are tried."""
    folder = resolve_checkpoint(checkpoint)
    config = PlanConfig(
        checkpoint, vis_encoder_update=vision, lang_lora_dim=lora_dim, lang_lora_module_name=lora_name
    )
    return count(build_on_meta(folder), get_family("auto", folder), config, has_lm_head)


def plan(config: PlanConfig) -> list[Planned]:
    """The models of a stage, in their order."""
    text = text_config(config.from_checkpoint)
    planned = []
    for number, model in enumerate(MODELS[config.stage]):
        parameters = parameters_of(
            config.from_checkpoint,
            model.has_lm_head,
            config.vis_encoder_update,
            config.lang_lora_dim,
            config.lang_lora_module_name,
        )
        if not model.is_trained:
            parameters = replace(parameters, trained=0)
        adapters = parameters.trained if config.lang_lora_dim else 0
        # A frozen tower is whole on each GPU, and the models of a stage share one.
        tower = 0 if config.vis_encoder_update else parameters.vision
        shared = parameters.total - tower + adapters
        engine = engine_memory(
            tower if number == 0 else 0, shared, parameters.trained, text.hidden_size, config
        )
        estimate = activations.in_training if model.is_trained else activations.without_gradients
        planned.append(Planned(model, parameters, engine, estimate(text, config, model.has_lm_head)))
    return planned


def held(config: PlanConfig) -> float:
    """Bytes on a GPU that are there all the time."""
    return _held(plan(config), config)


def _held(planned: Sequence[Planned], config: PlanConfig) -> float:
    own = 0 if rests(config) else sum(each.engine.held for each in planned)
    return own + sum(each.engine.common for each in planned)


def peak(config: PlanConfig) -> float:
    """The most bytes on a GPU at once: what is there all the time, and what one model works with."""
    planned, works = plan(config), []
    for each in planned:
        engine = each.engine
        arrives = engine.held if rests(config) else 0
        # Of one micro-batch the gradients come while the activations go, where no accumulator waits for them.
        late = config.zero_stage in (0, 2) and config.gradient_accumulation_steps == 1
        grows = max(each.activations, engine.gradients) if late else each.activations + engine.in_step
        works += [arrives + engine.passing + grows, arrives + engine.in_step + engine.stepping]
    if config.stage == "ppo":
        arrives = planned[0].engine.own if rests(config) else 0
        works.append(arrives + activations.of_sampling(text_config(config.from_checkpoint), config))
    return _held(planned, config) + max(works)


def on_cpu(config: PlanConfig) -> float:
    """Bytes of CPU memory for each GPU that offloading takes. Activations are not among them."""
    return sum(each.engine.on_cpu + (each.engine.held if rests(config) else 0) for each in plan(config))


def rests(config: PlanConfig) -> bool:
    """Whether each model is in CPU memory while others work."""
    return config.stage == "ppo" and config.offload_idle_models
