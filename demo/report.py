"""What the demo shows at its end: figures of the reward model, PPO's picture, and the spec of the report page.

python -m demo.report --demo models/demo
"""

import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

from PIL import Image

from eval.benches import descriptions
from training.utils.data.json_text import read_json
from training.utils.files import jsonl
from training.utils.picture import drawn
from training.utils.process.command import run_command

NAMES = {  # of what was trained or sampled, in the order of the page
    "sft": "SFT",
    "reward_model": "Reward model",
    "best-of-8": "best of 8",
    "dpo": "DPO",
    "ppo": "PPO",
    "grpo": "GRPO on counting",
}
SCORES = {
    "greedy": "greedy",
    "sampled": "sampled",
    "best": "sampled",
    "pope": "POPE",
    "unseen": "unseen",
    "count": "counting",
    "choice": "choice",
    "amber": "AMBER",
}
SHEET_COLUMNS, SHEET_PX = 8, 128


@dataclass(frozen=True)
class DemoReportConfig:
    demo: str = field(metadata={"help": "Output folder of scripts/demo.sh."})
    split: str = field(default="test", metadata={"help": "Split that was measured."})


def reward_figures(health: Path) -> dict[str, float]:
    """Pair accuracies in percent: all pairs, those of each source, and all with other pictures."""
    found = read_json(health / "report.json", "accuracy", "by_source")
    figures = {"all pairs": found["accuracy"]["true"]}
    figures |= {f"pairs that are {kind}": group["accuracy"] for kind, group in found["by_source"].items()}
    figures["pictures exchanged"] = found["accuracy"]["shuffled"]
    figures["blank pictures"] = found["accuracy"]["blank"]
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


def contact_sheet(world: Path, split: str, picture: Path) -> None:
    """The first scenes of a split side by side."""
    scenes = read_json(world / f"truth_{split}.json", "scenes")["scenes"]
    pictures = [Image.open(world / scene["image"]).convert("RGB") for scene in scenes[: 2 * SHEET_COLUMNS]]
    side, gap = max(SHEET_PX, pictures[0].width), 4
    rows = -(-len(pictures) // SHEET_COLUMNS)
    sheet = Image.new("RGB", (SHEET_COLUMNS * (side + gap) - gap, rows * (side + gap) - gap), "white")
    for number, scene in enumerate(pictures):
        place = number % SHEET_COLUMNS * (side + gap), number // SHEET_COLUMNS * (side + gap)
        sheet.paste(scene.resize((side, side), Image.Resampling.BICUBIC), place)
    sheet.save(picture)


def scores_of(folder: Path, run: str) -> dict[str, str]:
    """The files of scores that a run has, by their titles."""
    files = {
        folder / f"{run}-{kind}.json": title for kind, title in SCORES.items()
    }  # two kinds share a title
    return {title: str(file) for file, title in files.items() if file.is_file()}


def main(config: DemoReportConfig) -> None:
    demo, split = Path(config.demo), config.split
    world = demo / "world"
    about = read_json(world / "about.json", "art", "licence")
    contact_sheet(world, split, demo / "scenes.png")
    pictures = [{"title": f"The world: {about['art']}; {about['licence']}", "file": str(demo / "scenes.png")}]
    if (demo / "ppo" / "rollouts.jsonl").is_file():
        ppo_picture(demo / "ppo", world / "truth_train.json", demo / "ppo.png")
        pictures.append({"title": "PPO: does the truth follow the reward?", "file": str(demo / "ppo.png")})
    figures = []
    if (demo / "health").is_dir():
        figures = [
            {"name": f"reward model, {name}: pair accuracy, %", "value": f"{value:.1f}"}
            for name, value in reward_figures(demo / "health").items()
        ]
    runs = [{"name": name, "scores": scores_of(demo / "scores", run)} for run, name in NAMES.items()]
    stages = {name: demo / stage / "log.jsonl" for stage, name in NAMES.items()}
    spec = {
        "title": "Alignment of a tiny LLaVA on the demo world",
        "runs": [run for run in runs if run["scores"]],
        "figures": figures,
        "pictures": pictures,
        "logs": [{"title": name, "file": str(log)} for name, log in stages.items() if log.is_file()],
        "gallery": [
            {"title": "descriptions", "scores": "greedy", "questions": str(world / f"truth_{split}.json")},
            {"title": "counting", "scores": "counting", "questions": str(world / f"count_{split}.json")},
        ],
        "image_folder": str(world),
    }
    (demo / "report.json").write_text(json.dumps(spec, indent=1) + "\n")
    for figure in figures:
        print(f"{figure['name']}: {figure['value']}")


if __name__ == "__main__":
    run_command(main, DemoReportConfig)
