"""One side of a case in this process; it prints what its steps took."""

from dataclasses import dataclass
from pathlib import Path

from scripts.bench_trl.setting import CASES
from training.utils.config.flags import flag
from training.utils.process.command import run_command


@dataclass(frozen=True)
class SideConfig:
    case: str = flag(help="What is trained.", choices=list(CASES))
    side: str = flag(
        help="This project, the same with a row for each answer, or TRL.", choices=["ours", "rows", "theirs"]
    )
    model: str = flag(help="Model folder, with the records beside it.")


def main(config: SideConfig) -> None:
    case, model = CASES[config.case], Path(config.model)
    if config.side == "theirs":
        from scripts.bench_trl import theirs  # TRL is in a folder of its own

        theirs.train(case, model).print()
    else:
        from scripts.bench_trl import ours

        ours.train(case, model, as_rows=config.side == "rows").print()


if __name__ == "__main__":
    run_command(main, SideConfig)
