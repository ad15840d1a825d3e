"""Names what is wrong with a run of any stage, with the evidence and the cure, the worst first.

    python -m eval.doctor models/ppo

Status 0: nothing was found; 1: something was; 2: the folder is not that of a run.
"""

from dataclasses import dataclass
from pathlib import Path

from eval.doctor.examine import examine
from eval.doctor.report import as_text
from eval.doctor.run import read_run
from training.utils.config.flags import flag
from training.utils.process.command import run_command


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
