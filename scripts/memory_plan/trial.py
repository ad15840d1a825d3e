"""Two steps of a stage on this machine's CPU, by the product's own code, with their memory counted.

The models have the published shapes of their families in small: random weights, which decide the memory.
"""

import gc
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from transformers import PreTrainedModel

from scripts.memory_plan.config import PlanConfig
from scripts.rehearsal.captured import FITTED, captured_fit
from scripts.rehearsal.live import Live
from scripts.rehearsal.shapes import Picture, load_model, trees
from training.ppo import models as ppo_models
from training.ppo.experience import assign_credit, observe
from training.ppo.update import update
from training.rewards import kinds
from training.rewards.sampler import Sampled
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.tree import Tree, collate
from training.utils.engine import rest
from training.utils.files.model_folder import HEAD_FILE
from training.utils.loop.tally import Tally
from training.utils.losses.policy import RunningMoments
from training.utils.model import build_model
from training.utils.model.build_model import get_family
from training.utils.model.family import Family
from training.utils.model.generate import Sampling, generate
from training.utils.model.read_config import read_config
from training.utils.model.unused_head import UnusedHead

STEPS = 2  # the optimizer's state is there from the first step's end on


@dataclass(frozen=True)
class Small:
    """A small model of a family, and one picture as its processor gives it."""

    config: dict[str, Any]
    picture: Picture


TEXT = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 8, "num_attention_heads": 8}
ROPE = {"rope_type": "default", "rope_theta": 1e6, "mrope_section": [8, 12, 12]}
SMALL = {
    "llava": Small(
        {
            "model_type": "llava",
            "image_token_index": 32000,
            "vision_config": {
                "model_type": "clip_vision_model",
                "hidden_size": 256,
                "intermediate_size": 1024,
                "num_hidden_layers": 6,
                "num_attention_heads": 4,
                "image_size": 112,
                "patch_size": 14,
            },
            "text_config": TEXT | {"model_type": "llama", "num_key_value_heads": 8, "vocab_size": 32064},
        },
        Picture(64, (1, 3, 112, 112), {}),
    ),
    "qwen2.5-vl": Small(
        {
            "model_type": "qwen2_5_vl",
            "tie_word_embeddings": True,
            "image_token_id": 32001,
            "video_token_id": 32002,
            "vision_start_token_id": 32003,
            "vision_end_token_id": 32004,
            "vision_config": {
                "depth": 6,
                "hidden_size": 256,
                "intermediate_size": 704,
                "num_heads": 4,
                "out_hidden_size": 512,
                "fullatt_block_indexes": [2, 5],
                "patch_size": 14,
            },
            "text_config": TEXT
            | {"num_hidden_layers": 12, "num_key_value_heads": 2, "vocab_size": 32064}
            | {"tie_word_embeddings": True, "rope_parameters": ROPE},
        },
        Picture(64, (16 * 16, 1176), {"image_grid_thw": [[1, 16, 16]]}),
    ),
}


def shrunk(small: Small, **text: int) -> Small:
    """The same with another language model, for a quick look."""
    config = small.config | {"text_config": small.config["text_config"] | text}
    if "out_hidden_size" in config["vision_config"] and "hidden_size" in text:
        config["vision_config"] = config["vision_config"] | {"out_hidden_size": text["hidden_size"]}
    return Small(config, small.picture)


class Counting(TorchDispatchMode):
    """Counts the tensors on the CPU that operations see and make."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.live = live

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.live.hold((args, kwargs))
        out = function(*args, **(kwargs or {}))
        self.live.hold(out)
        return out


def resting_elsewhere(live: Live) -> dict[str, Callable]:
    """The functions of `engine/rest.py`, with copies that nobody counts."""

    def uncounted(function: Callable) -> Callable:
        def called(storage: torch.UntypedStorage, *args):
            with _disable_current_modes():
                result = function(storage, *args)
            live.measure(storage)
            return result

        return called

    return {name: uncounted(getattr(rest, name)) for name in ("copied", "empty", "fill")}


def drop_head(model: PreTrainedModel, is_saved: bool) -> None:
    """Stands for `UnusedHead`, which would keep the head of a model that will be saved."""
    UnusedHead(model, is_saved=False)


@dataclass
class Trial:
    """A stage with settings of a plan. Use it as a context."""

    small: Small
    plan: dict[str, Any]  # fields of `PlanConfig`
    folder: Path = field(init=False)

    def __enter__(self) -> "Trial":
        self.stack = ExitStack()
        self.folder = Path(self.stack.enter_context(TemporaryDirectory()))
        (self.folder / "config.json").write_text(json.dumps(self.small.config))
        size = self.small.config["text_config"]["hidden_size"]
        save_file({"weight": torch.zeros(1, size)}, self.folder / HEAD_FILE)
        self.family = get_family("auto", self.folder)
        self.stack.enter_context(patch.object(Family, "load_model", load_model))
        # A head that is not used is kept in CPU memory for checkpoints, which is not the device's.
        self.stack.enter_context(patch.object(build_model, "UnusedHead", drop_head))
        # What rests there is not, either: what has left the device has left the count.
        self.live = Live("cpu")
        self.stack.enter_context(patch.multiple(rest, **resting_elsewhere(self.live)))
        self.config = PlanConfig(from_checkpoint=str(self.folder), num_gpus=1, **self.plan)
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def peak(self) -> int:
        """Most bytes of tensors that were alive at once."""
        gc.collect()
        with Counting(self.live):
            (self.fitted if self.config.stage in FITTED else self.optimised)()
        return self.live.peak

    def flags(self, config_class: type, **more: Any):
        shared = {name: value for name, value in self.plan.items() if hasattr(config_class, name)}
        shared |= {"from_checkpoint": str(self.folder), "data_path": "unread", "output_dir": "unwritten"}
        return config_class(**shared | {"lang_decoder_update": True} | more)

    def trees(self) -> list[Tree]:
        plan, picture = self.config, self.small.picture
        config = read_config(self.folder)
        words = plan.prompt_len - picture.num_tokens - 1
        size = plan.per_device_train_batch_size
        return trees(config, picture, size, words, plan.num_responses, plan.response_len)

    def fitted(self) -> None:
        """SFT, reward model or DPO."""
        config = self.flags(FITTED[self.config.stage][1])
        engine, losses_of = captured_fit(self.config.stage, config, self.family)
        for _ in range(STEPS):
            batch = collate([[tree] for tree in self.trees()], 0, self.family.stack_vision)
            losses, _ = losses_of(batch)
            engine.backward(losses.sum() / len(losses))
            engine.step([batch])

    def optimised(self) -> None:
        """PPO: sampling, what the models say, the update."""
        plan = self.config
        zero = {"actor_zero_stage": plan.zero_stage, "critic_zero_stage": plan.zero_stage}
        zero |= {"offload_actor_model": plan.offload, "offload_critic_model": plan.offload}
        config = self.flags(PPOConfig, reward_model_ckpt_path=[str(self.folder)], **zero)
        models, tally, moments = self.models(config), Tally(), RunningMoments()
        sampling = Sampling(plan.response_len, stop_ids=(2,), num_tokens=31_000)
        prompts = [tree.with_responses([], set()) for tree in self.trees()]
        for _ in range(STEPS):
            with models.actor.whole_weights() as policy, models.actor.evaluating(), torch.no_grad():
                generate(policy, prompts, sampling, plan.num_responses)
            sampled = self.trees()
            batch = collate([[tree] for tree in sampled], 0, self.family.stack_vision)
            with torch.no_grad():
                rewarded = models.rewards(sampled, batch)
            seen = observe([Sampled(sampled, batch, **rewarded._asdict())], models, config)
            assign_credit(seen, moments, 0.1, config)
            update([seen], models, tally, config, 0.1)

    def models(self, config: PPOConfig) -> ppo_models.Models:
        """Those of a run; the reward model reads what the policy reads."""
        encoder = SimpleNamespace(family=self.family)
        data = SimpleNamespace(
            sampler=SimpleNamespace(num_steps=STEPS, accumulation=1), train=SimpleNamespace(has_images=True)
        )

        def model_reward(frozen: nn.Module, *_):
            return lambda trees, batch: frozen(batch, batch.last_token)

        stand_ins = {
            "build_encoder": lambda *_: encoder,
            "reads_the_same": lambda *_: True,
        }
        with (
            patch.multiple(ppo_models, **stand_ins),
            patch.object(kinds, "model_reward", model_reward),
        ):
            return ppo_models.build_models(config, encoder, data)
