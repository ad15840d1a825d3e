"""Any module can be imported first: none needs itself, over others, to be imported."""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.commands import PACKAGES
from tests.conftest import ROOT


def modules(root: Path) -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for file in (root / package).rglob("*.py"):
            parts = file.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imported(name: str, file: Path, known: dict[str, Path]) -> set[str]:
    """What a module imports as it is imported, packages on the way too; not what its functions do later."""
    wanted = []
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Import):
            wanted += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = name.split(".") if file.stem == "__init__" else name.split(".")[:-1]
            above = ".".join(base[: len(base) - node.level + 1]) if node.level else ""
            source = ".".join(filter(None, (above, node.module)))
            for each in node.names:
                inner = f"{source}.{each.name}"
                wanted.append(inner if inner in known else source)
    parents = {".".join(each.split(".")[:length]) for each in wanted for length in range(1, 9)}
    mine = {".".join(name.split(".")[:length]) for length in range(1, 9)}
    return (parents & set(known)) - mine


def circle(root: Path) -> list[str]:
    known = modules(root)
    try:
        TopologicalSorter({name: imported(name, file, known) for name, file in known.items()}).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_module_imports_itself_over_others():
    assert circle(ROOT) == []


@pytest.mark.parametrize("how", ["from .b import f", "from . import b", "from training.b.c import f"])
def test_a_circle_is_seen(how, tmp_path):
    """Over the package that holds what is imported, too."""
    (tmp_path / "training/b").mkdir(parents=True)
    (tmp_path / "training/a.py").write_text(f"{how}\n")
    (tmp_path / "training/b/__init__.py").write_text("import training.a\n")
    (tmp_path / "training/b/c.py").write_text("f = 1\n")
    assert set(circle(tmp_path)) == {"training.a", "training.b"}


def test_a_stage_starts_in_a_process_of_its_own():
    command = [sys.executable, "-m", "training.dpo.train_dpo", "--learning_rate", "fast"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.startswith("error: argument --learning_rate"), done.stderr
