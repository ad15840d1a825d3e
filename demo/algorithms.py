"""The table of scripts/algorithms.sh over seeds, and a picture of reward against KL.

python -m demo.algorithms --demos models/demo-0 models/demo-1 --output models/demo-algorithms.md
"""

from dataclasses import dataclass, field
from pathlib import Path

from demo.table import row, spread
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.picture import drawn
from training.utils.process.command import run_command

NAMES = {
    "start": "SFT, where all start",
    "gae": "PPO",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "reinforce_plus_plus": "REINFORCE++",
    "gae_shared": "PPO, one backbone",
    "dpo": "DPO",
    "dpo_sft": "DPO + cross-entropy",
    "cdpo": "cDPO",
    "robust": "robust DPO",
    "hinge": "hinge",
    "ipo": "IPO",
    "simpo": "SimPO",
    "orpo": "ORPO",
    "kto": "KTO",
    "bco": "BCO",
    "mpo": "MPO",
    "mdpo": "mDPO",
    "plackett_luce": "Plackett-Luce DPO",
    "biased_ranking": "with the original's 0.01",
    "sft": "cross-entropy of the best",
}
SHAPES = "o^sD"  # of points, after ten colours
HEAD = (
    "algorithm",
    "seeds",
    "Hal greedy, %",
    "Cover greedy, %",
    "Hal sampled, %",
    "Cover sampled, %",
    "reward",
    "KL, nats",
)


@dataclass(frozen=True)
class AlgorithmsConfig:
    demos: list[str] = field(metadata={"help": "Output folders of scripts/demo.sh, one for each seed."})
    output: str = flag(
        help="Markdown file to write; a picture of the same name comes beside it.", writes="file"
    )


def figures(run: Path) -> dict[str, float]:
    """The figures of one run."""
    drift = read_json(run / "drift.json", "reward", "kl")
    found = {name: drift[name]["mean"] for name in ("reward", "kl")}
    for decoding, file in (("greedy", "greedy"), ("sampled", "drift")):
        metrics = read_json(run / f"{file}-scores.json", "metrics")["metrics"]
        found |= {f"{name} {decoding}": metrics[name] for name in ("Hal", "Cover")}
    return found


def draw(runs: dict[str, list[dict[str, float]]], picture: Path) -> None:
    """Reward against KL: a point for each seed, a colour and shape for each algorithm."""
    with drawn(picture, figsize=(9, 5)) as axis:
        for number, (name, seeds) in enumerate(runs.items()):
            points = [seed["kl"] for seed in seeds], [seed["reward"] for seed in seeds]
            look = {"color": f"C{number % 10}", "marker": SHAPES[number // 10]}
            axis.scatter(*points, s=30, alpha=0.8, label=NAMES[name], **look)
        axis.set_xscale("symlog", linthresh=0.1)
        axis.set_xlabel("KL to the SFT model, nats")
        axis.set_ylabel("reward model's score")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def main(config: AlgorithmsConfig) -> None:
    runs = {}
    for name in NAMES:
        folders = [Path(demo) / "algorithms" / name for demo in config.demos]
        seeds = [figures(folder) for folder in folders if (folder / "drift.json").is_file()]
        if seeds:
            runs[name] = seeds
    if not runs:
        raise DataError(
            f"--demos {' '.join(config.demos)}: hold no algorithms/*/drift.json of scripts/algorithms.sh"
        )
    keys = ("Hal greedy", "Cover greedy", "Hal sampled", "Cover sampled", "reward", "kl")
    lines = [row(*HEAD), row(*["---"] * len(HEAD))]
    for name, seeds in runs.items():
        cells = [spread([seed[key] for seed in seeds], digits=2 if key == "kl" else 1) for key in keys]
        lines.append(row(NAMES[name], str(len(seeds)), *cells))
    text = "\n".join(lines)
    Path(config.output).write_text(text + "\n")
    draw(runs, Path(config.output).with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    run_command(main, AlgorithmsConfig)
