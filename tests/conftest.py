"""Tiny models of the real classes, with a real tokenizer and processor, built once for all tests."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.model import TinyConfig, build_tiny_llava
from tests.warm_python import warm_python
from training.utils.data import check
from training.utils.data.encode import Encoder
from training.utils.data.reader import Reader
from training.utils.data.record import Record, Turn
from training.utils.data.records import Records
from training.utils.model.llava import Llava
from training.utils.process import dist

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "data" / "samples"
TINY_SHAPES = {"patch_px": 8, "vision_size": 32, "vision_layers": 2, "hidden_size": 48, "num_layers": 2}


def run_script(*command: str, **settings: object) -> subprocess.CompletedProcess:
    """A shell script as a user starts it, in this environment, with settings as environment variables."""
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    environment |= {name: str(value) for name, value in settings.items()}
    return subprocess.run(
        ["bash", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


def load_records(path: str | Path, folder: Path | None = None, *, min_responses: int, **more) -> Records:
    """The records of a file, looked at without a tokenizer."""
    reads = {name: more.pop(name) for name in list(more) if name in Reader.__dataclass_fields__}
    reader = Reader(min_responses, image_folder=folder and str(folder), **reads)
    return check.load_records(str(path), reader, **more)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def one_process():
    """Stages that run in the test's own process find a group of one."""
    dist.init_distributed(seed=0)


@pytest.fixture(scope="session")
def warm_path(tmp_path_factory) -> Iterator[str]:
    """A PATH on which the commands of scripts take no time to start (tests/warm_python.py)."""
    with warm_python(tmp_path_factory.mktemp("python")) as folder:
        yield f"{folder}:{sys.prefix}/bin:{os.environ['PATH']}"


@pytest.fixture(scope="session")
def tiny_llava(tmp_path_factory) -> Path:
    """A LLaVA of 2 layers, with 16 image tokens."""
    folder = tmp_path_factory.mktemp("tiny") / "llava"
    build_tiny_llava(
        TinyConfig(output=str(folder), texts=str(SAMPLES), picture_px=32, vocab_size=400, **TINY_SHAPES)
    )
    return folder


@pytest.fixture(scope="session")
def encoder(tiny_llava) -> Encoder:
    family = Llava()
    return Encoder(family.load_processor(str(tiny_llava)), family, "auto", max_seq_len=512)


@pytest.fixture
def model(tiny_llava):
    return Llava().load_model(str(tiny_llava))


def picture(number: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    """A picture like no other."""
    noise = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(number))
    return Image.fromarray(noise.to(torch.uint8).numpy())


def record(
    question: str = "<image>\nWhat is this?",
    *responses: str,
    images: tuple = (0,),
    history: tuple[str, ...] = (),
) -> Record:
    """A record with pictures by number; `history` are earlier turns, user and assistant in alternation."""
    turns = [Turn(("user", "assistant")[i % 2], text) for i, text in enumerate([*history, question])]
    return Record(
        id="-".join(["r", *map(str, images)]),
        source="test[0]",
        images=tuple(picture(number) for number in images),
        turns=tuple(turns),
        responses=responses,
    )


RECORDS = [
    record("<image>\nWhat is this?", "A red circle.", "Two blue squares and a star.", "None"),
    record("And why?", "It is blue.", "No", images=(1, 2), history=("<image> or <image>?", "The first.")),
    record("How are you?", "Well.", "Badly, as always.", images=()),
]


def pytest_terminal_summary(terminalreporter):
    """The table of families and stages (tests/stages/test_matrix.py): which cells passed."""
    cells: dict[str, dict[str, str]] = {}
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            if "test_matrix.py" in report.nodeid and (found := re.search(r"::(.+)\[(.+)\]", report.nodeid)):
                test, case = found.groups()
                is_ppo = "ppo" in test
                family, stage = (case, "ppo, predict") if is_ppo else case.rsplit("-", 1)
                cells.setdefault(family, {})[stage] = outcome
    if not cells:
        return
    terminalreporter.section("families and stages")
    stages = sorted({stage for row in cells.values() for stage in row})
    terminalreporter.write_line(f"{'':22}" + "".join(f"{stage:>16}" for stage in stages))
    for family, row in cells.items():
        terminalreporter.write_line(f"{family:22}" + "".join(f"{row.get(stage, ''):>16}" for stage in stages))


@pytest.fixture(scope="module")
def taste(tiny_llava, tmp_path_factory):
    """A reward model that likes some last tokens much better than others."""
    folder = tmp_path_factory.mktemp("taste") / "reward_model"
    shutil.copytree(tiny_llava, folder)
    head = torch.randn(1, 48, generator=torch.Generator().manual_seed(0))
    save_file({"weight": head}, folder / "value_head.safetensors")
    return folder
