"""The table of scripts/algorithms.sh over seeds, by hallucination rate, and a picture of reward against KL.

python -m demo.algorithms --demos models/demo-0 models/demo-1 --output models/demo-algorithms.md

Group 1 are the best and all that a paired test can not tell from it, on the pictures that both described;
group 2 the best of the others and what can not be told from that; and so on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean

from demo.table import row, spread
from eval.benches.descriptions import rates
from eval.tables import read_scores
from eval.uncertainty import compare
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.picture import drawn
from training.utils.process.command import run_command

NAMES = {
    "start": "SFT, where all start",
    "ppo": "PPO",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "reinforce_plus_plus": "REINFORCE++",
    "reinforce_plus_plus_baseline": "REINFORCE++ with baseline",
    "dr_grpo": "Dr. GRPO",
    "dapo": "DAPO",
    "gspo": "GSPO",
    "cispo": "CISPO",
    "sapo": "SAPO",
    "ppo_shared": "PPO, one backbone",
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
    "biased_ranking": "ranking loss of the original",
    "sft": "cross-entropy of the best",
}
# Of Okabe and Ito, whose colours colour-blind readers tell apart; shapes and fillings tell the rest.
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
LOOKS = [
    {"marker": marker, "edgecolors": colour, "facecolors": colour}
    for marker, colour in product("o^sD", COLOURS)
]
HEAD = (
    "group",
    "algorithm",
    "seeds",
    "Hal greedy, %",
    "Cover greedy, %",
    "Hal sampled, %",
    "Cover sampled, %",
    "reward",
    "KL, nats",
)
MEASURED = "drift-scores.json"  # is written last
Items = list[dict]  # scored answers, named by seed and picture


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


def runs_of(demos: Sequence[str], name: str) -> dict[int, Path]:
    """The folders of an algorithm that was measured, by the places of their seeds."""
    folders = enumerate(Path(demo) / "algorithms" / name for demo in demos)
    return {seed: folder for seed, folder in folders if (folder / MEASURED).is_file()}


def greedy_items(folders: Mapping[int, Path]) -> Items:
    """What was scored of a run in each seed."""
    return [
        item | {"id": f"{seed} {item['id']}"}
        for seed, folder in folders.items()
        for item in read_scores(folder / "greedy-scores.json")["per_item"]
    ]


def are_told_apart(one: Items, other: Items) -> bool:
    """Whether the hallucination rates differ, by what both described; nothing is told by nothing."""
    found = compare(one, other, rates)
    return bool(found) and found["Hal"].is_told_apart


def in_groups(items: Mapping[str, Items], rate: Mapping[str, float]) -> dict[str, int]:
    """The group of each run, the best first."""
    left = sorted(items, key=lambda name: rate[name])
    groups: dict[str, int] = {}
    while left:
        best, number = left[0], max(groups.values(), default=0) + 1
        alike = [name for name in left if not are_told_apart(items[best], items[name])]
        groups |= dict.fromkeys(alike, number)
        left = [name for name in left if name not in groups]
    return groups


def draw(runs: Mapping[str, Sequence[dict[str, float]]], picture: Path) -> None:
    """Reward against KL: a point for each seed, a colour and shape for each algorithm."""
    with drawn(picture, figsize=(10, 6)) as axis:
        for number, (name, seeds) in enumerate(runs.items()):
            points = [seed["kl"] for seed in seeds], [seed["reward"] for seed in seeds]
            axis.scatter(*points, s=34, alpha=0.85, label=NAMES[name], **LOOKS[number])
        axis.set_xscale("symlog", linthresh=0.1)
        axis.set_xlabel("KL to the SFT model, nats")
        axis.set_ylabel("reward model's score")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def main(config: AlgorithmsConfig) -> None:
    folders = {name: runs_of(config.demos, name) for name in NAMES}
    folders = {name: of for name, of in folders.items() if of}
    if not folders:
        raise DataError(
            f"--demos {' '.join(config.demos)}: hold no algorithms/*/{MEASURED} of scripts/algorithms.sh"
        )
    runs = {name: [figures(folder) for folder in of.values()] for name, of in folders.items()}
    rate = {name: fmean(seed["Hal greedy"] for seed in seeds) for name, seeds in runs.items()}
    groups = in_groups({name: greedy_items(of) for name, of in folders.items()}, rate)
    keys = ("Hal greedy", "Cover greedy", "Hal sampled", "Cover sampled", "reward", "kl")
    lines = [row(*HEAD), row(*["---"] * len(HEAD))]
    for name in sorted(runs, key=lambda name: (groups[name], rate[name])):
        seeds = runs[name]
        cells = [spread([seed[key] for seed in seeds], digits=2 if key == "kl" else 1) for key in keys]
        lines.append(row(str(groups[name]), NAMES[name], str(len(seeds)), *cells))
    text = "\n".join(lines)
    Path(config.output).write_text(text + "\n")
    draw(runs, Path(config.output).with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    run_command(main, AlgorithmsConfig)
