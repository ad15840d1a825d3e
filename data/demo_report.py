"""What the demo shows at its end: figures of the reward model, PPO's picture, and the spec of the report page.

python -m data.demo_report --demo models/demo
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean

import matplotlib
from transformers import HfArgumentParser

from data.demo_text import objects_in
from eval.benches import amber
from training.reward_model.score import accuracy
from training.utils import jsonl

matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402


@dataclass(frozen=True)
class DemoReportConfig:
    demo: str = field(metadata={"help": "Output folder of scripts/demo.sh."})
    split: str = field(default="test", metadata={"help": "Split that was measured."})


def reward_figures(scores: Path, split: str) -> dict[str, float]:
    """Pair accuracies in percent: all edited pairs, each kind, with exchanged pictures, and sampled answers."""
    edited = jsonl.read(scores / f"rewards-{split}.jsonl")
    kinds = defaultdict(list)
    for line in edited:
        kinds[line["id"].rsplit("-", 1)[1]].append(line)
    parts = {"edited pairs": edited}
    parts |= {f"edited pairs, {kind.replace('_', ' ')}": kinds[kind] for kind in sorted(kinds)}
    parts["edited pairs, pictures exchanged"] = jsonl.read(scores / f"rewards-{split}-shuffled.jsonl")
    parts["answers sampled from the SFT model"] = jsonl.read(scores / f"rewards-sampled-{split}.jsonl")
    figures = {}
    for name, lines in parts.items():
        right, pairs = accuracy(lines)
        figures[name] = 100 * right / max(pairs, 1)
    return figures


def ppo_picture(run: Path, truth: dict, picture: Path) -> None:
    """Reward, true hallucination rate and KL of the sampled answers against PPO steps."""
    by_step = defaultdict(list)
    for line in jsonl.read(run / "rollouts.jsonl"):
        by_step[line["step"]].append(line)
    find = partial(objects_in, names=truth["objects"])
    steps = sorted(by_step)
    scored = [amber.score(truth["scenes"], unique(by_step[step]), find).metrics for step in steps]
    series = {
        "reward model's score": [mean(s for line in by_step[step] for s in line["scores"]) for step in steps],
        "true hallucination rate, %": [metrics["Hal"] for metrics in scored],
        "true Cover, %": [metrics["Cover"] for metrics in scored],
        "KL of an answer, nats": [mean(k for line in by_step[step] for k in line["kl"]) for step in steps],
    }
    figure, axes = pyplot.subplots(1, len(series), figsize=(4 * len(series), 3))
    for axis, (name, values) in zip(axes, series.items(), strict=True):
        axis.plot(steps, values, linewidth=0.8, alpha=0.4)
        axis.plot(steps, smoothed(values), linewidth=1.8)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("PPO step", fontsize=8)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    pyplot.close(figure)


def unique(lines: list[dict]) -> list[dict]:
    """Rollouts of one step, the samples of a prompt that came twice put together."""
    responses = defaultdict(list)
    for line in lines:
        responses[line["id"]] += line["responses"]
    return [{"id": name, "responses": texts} for name, texts in responses.items()]


def smoothed(values: list[float], window: int = 7) -> list[float]:
    return [mean(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]


def main(config: DemoReportConfig) -> None:
    demo, split = Path(config.demo), config.split
    world, scores = demo / "world", demo / "scores"
    figures = [
        {"name": f"reward model, {name}: pair accuracy, %", "value": f"{value:.1f}"}
        for name, value in reward_figures(scores, split).items()
    ]
    truth_train = json.loads((world / "truth_train.json").read_text())
    ppo_picture(demo / "ppo", truth_train, demo / "ppo.png")

    def named(name: str, run: str) -> dict:
        kinds = {"greedy": "greedy", "sampled": "sampled", "POPE": "pope"}
        return {
            "name": name,
            "scores": {title: str(scores / f"{run}-{k}.json") for title, k in kinds.items()},
        }

    runs = [named("SFT", "sft"), named("DPO", "dpo"), named("PPO", "ppo")]
    runs.insert(1, {"name": "best of 8", "scores": {"sampled": str(scores / "best-of-8.json")}})
    stages = {"sft": "SFT", "reward_model": "Reward model", "dpo": "DPO", "ppo": "PPO"}
    spec = {
        "title": "Alignment of a tiny LLaVA on the demo world",
        "runs": runs,
        "figures": figures,
        "pictures": [{"title": "PPO: does the truth follow the reward?", "file": str(demo / "ppo.png")}],
        "logs": [{"title": name, "file": str(demo / s / "log.jsonl")} for s, name in stages.items()],
        "gallery": [
            {"title": "descriptions", "scores": "greedy", "questions": str(world / f"truth_{split}.json")},
            {"title": "POPE", "scores": "POPE", "questions": str(world / f"pope_{split}.json")},
        ],
        "image_folder": str(world),
    }
    (demo / "report.json").write_text(json.dumps(spec, indent=1) + "\n")
    for figure in figures:
        print(f"{figure['name']}: {figure['value']}")


if __name__ == "__main__":
    main(HfArgumentParser(DemoReportConfig).parse_args_into_dataclasses()[0])
