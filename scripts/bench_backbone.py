"""Peak memory of PPO with four models, with adapters on copies of a model, and with one backbone in all roles.

    python -m scripts.bench_backbone

Each is a whole run of two steps in a process of its own, on a LLaVA with random weights; what an idle process takes
that has imported everything is taken off.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from demo.model import TinyConfig, build_tiny_llava
from training.utils.process.command import run_command

SAMPLES = Path("data/samples")
HIDDEN_SIZE, NUM_LAYERS = 768, 14  # about 100 million parameters
LORA = ["--lang_lora_dim", "16", "--only_optimize_lora"]
MODES = {
    "four models": [],
    "four models, two with adapters": LORA,
    "one backbone": [*LORA, "--share_backbone"],
}


def peak_gib(*arguments: str) -> float:
    """Largest resident memory of a process."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"error: {' '.join(arguments)}\n{errors[-2000:]}")
    return usage.ru_maxrss / 2**20


def stage(module: str, model: Path, data: str, output: Path, *flags: str) -> list[str]:
    return [
        *("-m", module, "--from_checkpoint", str(model), "--data_path", str(SAMPLES / data)),
        *("--output_dir", str(output), "--lang_decoder_update", "--per_device_train_batch_size", "2"),
        *("--max_steps", "2", "--save_total_limit", "1", "--dataset_samples", "8", *flags),
    ]


def main() -> None:
    idle = peak_gib("-c", "import training.ppo.train_ppo, deepspeed")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model, judge = folder / "model", folder / "judge"
        shapes = {"hidden_size": HIDDEN_SIZE, "num_layers": NUM_LAYERS, "vision_layers": 2, "picture_px": 32}
        build_tiny_llava(TinyConfig(output=str(model), texts=str(SAMPLES), patch_px=8, **shapes))
        peak_gib(*stage("training.reward_model.train_rm", model, "reward.json", judge, *LORA))
        found = {}
        for name, flags in MODES.items():
            flags = [
                *flags,
                "--reward_model_ckpt_path",
                str(judge),
                "--max_generation_length_of_sampling",
                "8",
            ]
            found[name] = (
                peak_gib(*stage("training.ppo.train_ppo", model, "ppo.json", folder / name, *flags)) - idle
            )
            print(
                f"{name}: {found[name]:.2f} GiB, {found[name] / found['four models']:.2f} of four models",
                flush=True,
            )
        print(json.dumps(found))


if __name__ == "__main__":
    run_command(main)
