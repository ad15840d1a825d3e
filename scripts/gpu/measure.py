"""Measures a section in this process, and prints a line for each way."""

from dataclasses import asdict, dataclass

import torch

from scripts.gpu.sections import MODELS, SECTIONS, Section
from scripts.gpu.stages import Stages, matmul_tflops
from scripts.measured import say
from training.utils.config.flags import ConfigError, flag
from training.utils.data.record import DataError
from training.utils.process.command import run_command

ROUNDS, TINY_ROUNDS = 5, 2  # of a step, the first one to warm up
MATMUL = "matmul"


@dataclass(frozen=True)
class MeasureConfig:
    section: str = flag(help="A section, or what a matrix product reaches.", choices=[*SECTIONS, MATMUL])
    size: str = flag("7b", "Of the model.", choices=["7b", "tiny"])


def measure(section: Section, tiny: bool) -> None:
    for way in section.ways:
        rounds = TINY_ROUNDS if tiny else ROUNDS
        try:
            with Stages(section.family, MODELS[section.family], rounds, tiny, **way.flags) as stages:
                found = asdict(stages.measure(section.stage, way.as_rows))
        except torch.OutOfMemoryError:
            found = {"failed": "out of memory"}
        except (ConfigError, DataError) as refused:
            found = {"failed": str(refused).replace("|", "/")}
        say({"section": section.name, "way": way.name} | found)


def main(config: MeasureConfig) -> None:
    if config.section == MATMUL:
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
        say({"device": device, "tflops": matmul_tflops()})
    else:
        measure(SECTIONS[config.section], config.size == "tiny")


if __name__ == "__main__":
    run_command(main, MeasureConfig)
