"""The table of scripts/demo_online.sh over seeds, and a curve over optimizer steps.

python -m demo.online --demos models/demo-0-quick models/demo-1-quick --output models/demo-quick-online.md

Differences are to one round, on the pictures that both described in all seeds, with 95 % intervals and a paired test
by the choice of pictures. What another seed would change, the standard deviations tell.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from demo.table import row, spread
from eval.benches.descriptions import rates
from eval.score import ScoreConfig, report
from eval.uncertainty import Difference, compare
from training.utils.config.flags import flag
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.picture import drawn
from training.utils.process.command import run_command

START, BASE = "start", "one_round"
NAMES = {
    START: "SFT, where all start",
    BASE: "one round",
    "rounds": "rounds, each held to the model before",
    "rounds_start": "rounds, held to SFT",
    "online": "online steps, held to SFT",
}
LOOKS = {  # of Okabe and Ito's colours, which colour-blind readers tell apart
    BASE: ("#000000", "o"),
    "rounds": ("#0072B2", "^"),
    "rounds_start": ("#56B4E9", "s"),
    "online": ("#D55E00", "D"),
}
RATES = {"Hal": "hallucination rate, %", "Cover": "Cover, %"}
HEAD = (
    "learned on",
    "seeds",
    "optimizer steps",
    "sampled answers",
    "Hal %",
    "Cover %",
    "reward",
    "Hal against one round, points",
    "Cover against one round, points",
)
Point = dict[str, Any]  # `metrics`, `items` that were scored, `reward` of an answer


@dataclass(frozen=True)
class DemoOnlineConfig:
    demos: list[str] = field(metadata={"help": "Output folders of scripts/demo.sh, one for each seed."})
    output: str = flag(
        help="Markdown file to write; a picture of the same name comes beside it.", writes="file"
    )
    folder: str = flag("online", "Folder in each demo that scripts/demo_online.sh has written.")


def read_points(demo: Path, folder: str) -> dict[str, dict[int, Point]]:
    """What was measured of each run in a demo, by optimizer steps."""
    points: dict[str, dict[int, Point]] = defaultdict(dict)
    for file in (demo / folder / "answers").glob("*-*.jsonl"):
        name, _, step = file.stem.rpartition("-")
        scored = report(ScoreConfig("descriptions", [str(demo / "world" / "truth_test.json")], str(file)))
        reward = fmean(score for line in jsonl.read(file) for score in line["scores"])
        points[name][int(step)] = {
            "metrics": scored["metrics"],
            "items": scored["per_item"],
            "reward": reward,
        }
    return {name: dict(sorted(points[name].items())) for name in NAMES if name in points}


def taken(run: Path) -> tuple[int, int]:
    """Optimizer steps that a run made, and answers that it sampled."""
    logs = [*run.glob("round-*/model/log.jsonl"), *run.glob("log.jsonl")]
    sampled = [*run.glob("round-*/answers.jsonl"), *run.glob("rollouts.jsonl")]
    steps = sum("loss" in line for file in logs for line in jsonl.read(file))
    return steps, sum(len(line["responses"]) for file in sampled for line in jsonl.read(file))


def ends(points: Mapping[int, dict], name: str) -> dict[int, Point]:
    """The last point of a run in each seed that has it."""
    return {seed: list(of[name].values())[-1] for seed, of in points.items() if name in of}


def against(base: Mapping[int, Point], other: Mapping[int, Point]) -> dict[str, Difference]:
    """Each rate less that of the base, over the seeds that have both."""
    items = [
        [item | {"id": f"{seed} {item['id']}"} for seed, point in run.items() for item in point["items"]]
        for run in (base, other)
    ]
    return compare(*items, rates)


def counted(values: Sequence[int]) -> str:
    return spread(values, digits=0) if len(set(values)) > 1 else str(values[0])


def written(found: Difference | None) -> str:
    if found is None:
        return ""
    return f"{found.change:+.1f} ({found.low:+.1f} to {found.high:+.1f}), p {found.p:.3f}"


def table(points: Mapping[int, dict], runs: Mapping[int, Path]) -> str:
    """A row for each run, by its last point."""
    lines = [row(*HEAD), row(*["---"] * len(HEAD))]
    base = ends(points, BASE)
    for name, shown in NAMES.items():
        of_seeds = ends(points, name)
        if not of_seeds:
            continue
        effort = [taken(runs[seed] / name) for seed in of_seeds] if name != START else []
        counts = [counted(column) for column in zip(*effort, strict=True)] or ["", ""]
        figures = [spread([point["metrics"][rate] for point in of_seeds.values()]) for rate in RATES]
        reward = spread([point["reward"] for point in of_seeds.values()], digits=2)
        found = against(base, of_seeds) if base and name not in (START, BASE) else {}
        changes = [written(found.get(rate)) for rate in RATES]
        lines.append(row(shown, str(len(of_seeds)), *counts, *figures, reward, *changes))
    return "\n".join(lines)


def draw(points: Mapping[int, dict], picture: Path) -> None:
    """Both rates against optimizer steps from the start on: the mean over seeds, and their standard deviation."""
    with drawn(picture, 1, len(RATES), figsize=(5 * len(RATES), 3.6)) as axes:
        for axis, (rate, label) in zip(axes, RATES.items(), strict=True):
            for name, (colour, marker) in LOOKS.items():
                steps: dict[int, list[float]] = defaultdict(list)
                for of in points.values():
                    for step, point in (of[START] | of[name]).items() if name in of else ():
                        steps[step].append(point["metrics"][rate])
                if steps:
                    means = [fmean(values) for values in steps.values()]
                    spreads = [stdev(values) if len(values) > 1 else 0.0 for values in steps.values()]
                    axis.errorbar(
                        [*steps], means, spreads, color=colour, marker=marker, capsize=2, label=NAMES[name]
                    )
            axis.set_xlabel("optimizer steps")
            axis.set_ylabel(label)
            axis.grid(alpha=0.3)
        axes[0].legend(fontsize=8, frameon=False)


def main(config: DemoOnlineConfig) -> None:
    points = {seed: read_points(Path(demo), config.folder) for seed, demo in enumerate(config.demos)}
    if not all(START in of for of in points.values()):
        raise DataError(
            f"--demos {' '.join(config.demos)}: expected {config.folder}/answers/start-0.jsonl of "
            "scripts/demo_online.sh in each"
        )
    text = table(points, {seed: Path(demo) / config.folder for seed, demo in enumerate(config.demos)})
    Path(config.output).write_text(text + "\n")
    draw(points, Path(config.output).with_suffix(".png"))
    print(text)


if __name__ == "__main__":
    run_command(main, DemoOnlineConfig)
