"""This project's losses against TRL's, step for step: 20 optimizer steps of both on the same records.

bash scripts/compare_trl.sh    about 3 minutes on a CPU; prints a table, and exits with 1 where they differ

Both train a tiny LLaVA in fp32 with the same AdamW and no clipping, each by its own code: TRL by its trainers, this
project by its stages. Only sampling is left out: GRPO and RLOO get the same responses and rewards.
"""

import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from torch import Tensor

from scripts import compare_trl_ours as ours
from scripts.compare_trl_case import NUM_STEPS, PROMPTS, Case, settings_for
from scripts.compare_trl_cases import CASES
from training.dpo.loss_types import LOSS_TYPES
from training.utils.config.algorithms import ALGORITHMS
from training.utils.config.flags import flag, require_known
from training.utils.process import dist
from training.utils.process.command import run_command


@dataclass(frozen=True)
class CompareConfig:
    output: str = flag("models/compare_trl", "Folder to write into.", writes="folder")
    only: list[str] = flag([], "Names of losses; none: all.")
    tolerance: float = flag(1e-4, "Largest difference of a loss, and of a weight, to accept.")

    def __post_init__(self) -> None:
        require_known("--only", self.only, (case.name for case in CASES))


HEAD = [
    "| loss | TRL's trainer | first to last step | largest difference of the loss | "
    "of a weight at the end, of the largest move | token ids | |",
    "|---|---|---|---|---|---|---|",
]


def largest_difference(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """Of any weight, but for the bias of keys in CLIP: a shift of all keys changes no attention, so its gradient is
    nothing but rounding, which Adam scales up to the size of any other."""
    names = [name for name in one if not name.endswith("k_proj.bias")]
    return max(float((one[name] - other[name]).abs().max()) for name in names)


def by_step(rows: list[ours.Row]) -> list[list[ours.Row]]:
    """The rows of each step, in an order of no meaning: TRL shuffles the samples of a rollout."""
    size = len(rows) // NUM_STEPS
    return [sorted(rows[first : first + size]) for first in range(0, len(rows), size)]


def line(
    case: Case, theirs: ours.Outcome, mine: ours.Outcome, start: dict[str, Tensor], tolerance: float
) -> tuple[str, bool]:
    """A line of the table, and whether both sides agree."""
    loss = max(abs(a - b) for a, b in zip(theirs.losses, mine.losses, strict=True))
    weight = largest_difference(theirs.weights, mine.weights)
    same_ids = by_step(theirs.rows) == by_step(mine.rows)
    cells = [
        case.name,
        f"{case.trainer}Trainer",
        f"{mine.losses[0]:.3f} to {mine.losses[-1]:.3f}",
        f"{loss:.1e}",
        f"{weight:.1e} of {largest_difference(mine.weights, start):.1e}",
        "equal" if same_ids else "DIFFER",
        case.note,
    ]
    return f"| {' | '.join(cells)} |", same_ids and max(loss, weight / case.slack) <= tolerance


def main(config: CompareConfig) -> bool:
    """Whether all agree."""
    from scripts import compare_trl_theirs as theirs  # here, so that tests can do without TRL

    folder = Path(config.output)
    shutil.rmtree(folder / "runs", ignore_errors=True)
    model = folder / "tiny"
    ours.write_model(model)
    ours.write_model(folder / ours.TEACHER, ours.TEACHER_SIZE)
    ours.write_records(folder, NUM_STEPS * PROMPTS)
    start = ours.read_weights(model)

    cases = [case for case in CASES if not config.only or case.name in config.only]
    runs = [
        (case, *settings_for(case, model, folder / "runs" / str(number))) for number, case in enumerate(cases)
    ]
    # Theirs first: the process group that ours need would tell their library that it is one of several processes.
    outcomes = [
        theirs.train(
            case.trainer,
            model,
            ours.MicroBatches(flags),
            settings,
            case.reward_scale,
            case.rewards,
        )
        for case, settings, flags in runs
    ]
    dist.init_distributed(seed=0)
    table = [*HEAD]
    agree = []
    for (case, _, flags), outcome in zip(runs, outcomes, strict=True):
        text, agrees = line(case, outcome, ours.train(flags), start, config.tolerance)
        table.append(text)
        agree.append(agrees)
    dist.shutdown()
    (folder / "table.md").write_text("\n".join(table) + "\n")
    compared = {name for case in CASES for name in case.name.split(" + ")}
    others = [name for name in (*LOSS_TYPES, *ALGORITHMS) if name not in compared]
    print("", *table, f"\nWithout a counterpart in TRL {version('trl')}: {', '.join(others)}.", sep="\n")
    return all(agree)


if __name__ == "__main__":
    run_command(lambda config: int(not main(config)), CompareConfig)
