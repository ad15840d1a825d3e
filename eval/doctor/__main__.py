"""Names what is wrong with a run of any stage, with the evidence and the cure, the worst first.

    python -m eval.doctor models/ppo

Status 0: nothing was found; 1: something was; 2: the folder is not that of a run.
"""

from dataclasses import dataclass
from pathlib import Path

from training.utils.command import run_command
from training.utils.flags import flag

from .examine import examine
from .report import as_text
from .run import read_run


@dataclass(frozen=True)
class DoctorConfig:
    run: str = flag(help="Output folder of a stage, while it trains or after.", positional=True)


def main(config: DoctorConfig) -> int:
    run = read_run(Path(config.run))
    diagnosis = examine(run)
    print(as_text(run, diagnosis))
    return int(bool(diagnosis.findings))


if __name__ == "__main__":
    run_command(main, DoctorConfig)
