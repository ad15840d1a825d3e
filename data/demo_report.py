"""What the demo shows at its end: figures of the reward model, PPO's picture, and the spec of the report page.

python -m data.demo_report --demo models/demo
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from eval.benches import descriptions
from training.utils.data.json_text import read_json
from training.utils.files import jsonl
from training.utils.picture import drawn
from training.utils.process.command import run_command


@dataclass(frozen=True)
class DemoReportConfig:
    demo: str = field(metadata={"help": "Output folder of scripts/demo.sh."})
    split: str = field(default="test", metadata={"help": "Split that was measured."})


def reward_figures(health: Path, split: str) -> dict[str, float]:
    """Pair accuracies in percent: all edited pairs, each kind, with other pictures, and sampled answers."""
    edited, sampled = (
        read_json(health / name / "report.json", "accuracy", "by_source")
        for name in (f"rewards-{split}", f"rewards-sampled-{split}")
    )
    figures = {"edited pairs": edited["accuracy"]["true"]}
    figures |= {f"edited pairs, {kind}": group["accuracy"] for kind, group in edited["by_source"].items()}
    figures["edited pairs, pictures exchanged"] = edited["accuracy"]["shuffled"]
    figures["edited pairs, blank pictures"] = edited["accuracy"]["blank"]
    figures["answers sampled from the SFT model"] = sampled["accuracy"]["true"]
    return figures


def ppo_picture(run: Path, truth: Path, picture: Path) -> None:
    """Reward, true hallucination rate and KL of the sampled answers against PPO steps."""
    by_step = defaultdict(list)
    for line in jsonl.read(run / "rollouts.jsonl"):
        by_step[line["step"]].append(line)
    questions = descriptions.load([truth])
    steps = sorted(by_step)
    scored = [descriptions.score(questions, by_prompt(by_step[step])).metrics for step in steps]
    series = {
        "reward model's score": [mean(s for line in by_step[step] for s in line["scores"]) for step in steps],
        "true hallucination rate, %": [metrics["Hal"] for metrics in scored],
        "true Cover, %": [metrics["Cover"] for metrics in scored],
        "KL of an answer, nats": [mean(k for line in by_step[step] for k in line["kl"]) for step in steps],
    }
    with drawn(picture, 1, len(series), figsize=(4 * len(series), 3)) as axes:
        for axis, (name, values) in zip(axes, series.items(), strict=True):
            axis.plot(steps, values, linewidth=0.8, alpha=0.4)
            axis.plot(steps, smoothed(values), linewidth=1.8)
            axis.set_title(name, fontsize=10)
            axis.set_xlabel("PPO step", fontsize=8)
            axis.grid(alpha=0.3)


def by_prompt(lines: list[dict]) -> dict[str, list[str]]:
    """The samples of one step, those of a prompt that came twice put together."""
    responses = defaultdict(list)
    for line in lines:
        responses[line["id"]] += line["responses"]
    return responses


def smoothed(values: list[float], window: int = 7) -> list[float]:
    return [mean(values[max(0, i - window + 1) : i + 1]) for i in range(len(values))]


def main(config: DemoReportConfig) -> None:
    demo, split = Path(config.demo), config.split
    world, scores = demo / "world", demo / "scores"
    figures = [
        {"name": f"reward model, {name}: pair accuracy, %", "value": f"{value:.1f}"}
        for name, value in reward_figures(demo / "health", split).items()
    ]
    ppo_picture(demo / "ppo", world / "truth_train.json", demo / "ppo.png")

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
    run_command(main, DemoReportConfig)
