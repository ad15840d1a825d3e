"""Makes runs with planted faults, and good runs, each by the stage itself, and keeps what they log.

    python -m scripts.plant_faults --output_dir /tmp/planted --seed 0 --keep tests/eval/doctor_runs

`--keep` writes `good.jsonl` and `faulty.jsonl`, a run a line: its name, args.json, log.jsonl and rollouts.jsonl, with
numbers of five digits, and of the rollouts the first and last steps.
"""

import json
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file

from demo.model import TinyConfig, build_tiny_llava
from scripts.planted.plans import Plan, faulty, good
from scripts.planted.world import write_world
from training.dpo import train_dpo
from training.ppo import train_ppo
from training.reward_model import train_rm
from training.sft import train_sft
from training.utils.config.arguments import parse_args
from training.utils.config.flags import flag, require_known
from training.utils.config.ppo_config import PPOConfig
from training.utils.config.stage_config import DPOConfig, RewardConfig, SFTConfig
from training.utils.engine.counts import NonFiniteLoss
from training.utils.files import jsonl
from training.utils.files.model_folder import resolve_checkpoint
from training.utils.process import dist
from training.utils.process.command import run_command

STAGES = {
    "sft": (train_sft.main, SFTConfig),
    "reward_model": (train_rm.main, RewardConfig),
    "dpo": (train_dpo.main, DPOConfig),
    "ppo": (train_ppo.main, PPOConfig),
}
SFT_STEPS = 150  # of the model that the other runs start from
ENDS = 2  # steps at each end whose rollouts are kept
BLIND = "multi_modal_projector.linear_2"


@dataclass(frozen=True)
class PlantConfig:
    output_dir: str = flag("", "Folder to work in, which is kept; none: a temporary one.", writes="folder")
    seed: int = flag(0, "Seed of the pictures, the models and the runs.")
    only: list[str] = flag([], "Runs by name; none: all.")
    keep: str = flag("", "Folder to keep the logs in; none: they stay where they are.", writes="folder")

    def __post_init__(self) -> None:
        plans = (*good(self.seed), *faulty(self.seed))
        require_known("--only", self.only, (plan.name for plan in plans))


def main(config: PlantConfig) -> None:
    folder = Path(config.output_dir or tempfile.mkdtemp(prefix="planted-"))
    os.environ.setdefault("DS_ACCELERATOR", "cpu")
    dist.init_distributed(seed=0)
    world = folder / "world"
    if not world.is_dir():
        write_world(world, config.seed)
        prepare(folder, config.seed)
    for kind, plans in (("good", good(config.seed)), ("faulty", faulty(config.seed))):
        done = [train(plan, folder) for plan in plans if plan.name in (config.only or [plan.name])]
        if config.keep:
            keep(done, folder, Path(config.keep) / f"{kind}.jsonl")


def prepare(folder: Path, seed: int) -> None:
    """The models: `tiny`, `sft`, and `blind`, to whom each picture is the same."""
    shapes = {"picture_px": 32, "patch_px": 8, "vision_size": 32, "vision_layers": 2}
    shapes |= {"hidden_size": 48, "num_layers": 2, "vocab_size": 400, "seed": seed}
    with open(os.devnull, "w") as nowhere, patch("sys.stdout", nowhere):
        build_tiny_llava(TinyConfig(output=str(folder / "tiny"), texts=str(folder / "world"), **shapes))
    trained = train(
        Plan("base", "sft", "sft", "tiny", {"max_steps": SFT_STEPS, "seed": seed}), folder, whole=True
    )
    shutil.copytree(resolve_checkpoint(trained), folder / "sft")
    shutil.copytree(folder / "sft", folder / "blind")
    weights = load_file(folder / "blind" / "model.safetensors")
    for name, tensor in weights.items():
        if BLIND in name:
            weights[name] = torch.zeros_like(tensor)
    save_file(weights, folder / "blind" / "model.safetensors", metadata={"format": "pt"})


def train(plan: Plan, folder: Path, whole: bool = False) -> Path:
    """The folder of the finished run, without its weights unless they are asked for."""
    output = folder / "runs" / plan.name
    if (output / "args.json").is_file():
        return output
    main, config_class = STAGES[plan.stage]
    settings = plan.settings() | {"output_dir": output}
    settings |= {"from_checkpoint": folder / plan.model, "data_path": folder / "world" / f"{plan.data}.json"}
    values = {name: value if isinstance(value, list) else [value] for name, value in settings.items()}
    argv = [str(word) for name, value in values.items() for word in (f"--{name}", *value)]
    stage_config = parse_args(config_class, argv)
    torch.manual_seed(stage_config.seed)
    print(plan.name, flush=True)
    with patch("training.utils.loop.meter.draw_curves"), patch("sys.argv", [plan.stage, *argv]):
        try:
            main(stage_config)
        except NonFiniteLoss as error:
            print(error, file=sys.stderr)
    if not whole:
        for path in output.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
    return output


def keep(runs: Iterable[Path], folder: Path, file: Path) -> None:
    """Writes runs as lines of a file, without the name of the folder that they were made in."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    for run in runs:
        rollouts = jsonl.read(run / "rollouts.jsonl")
        steps = sorted({line["step"] for line in rollouts})
        ends = {*steps[:ENDS], *steps[-ENDS:]}
        args = json.loads((run / "args.json").read_text().replace(str(folder), "planted"))
        args["identity"]["inputs"] = {}
        line = {
            "name": run.name,
            "args.json": args,
            "log.jsonl": rounded(jsonl.read(run / "log.jsonl")),
            "rollouts.jsonl": rounded([line for line in rollouts if line["step"] in ends]),
        }
        jsonl.append(file, line)


def rounded(value: object) -> object:
    """With numbers of five digits."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: rounded(part) for name, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run_command(main, PlantConfig)
