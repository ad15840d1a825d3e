"""Runs the sections of the GPU check one after the other, each under a limit of its own; `gpu_check.sh` starts it."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.gpu.page import page
from scripts.gpu.sections import SECTIONS
from scripts.measured import heard
from training.utils.config.flags import flag, require, require_known
from training.utils.process.command import run_command

GPU_TESTS = Path("tests/gpu")


@dataclass(frozen=True)
class CheckConfig:
    output: str = flag("docs/gpu.md", "Page to write after each row.", writes="file")
    size: str = flag("7b", "Of the models.", choices=["7b", "tiny"])
    only: list[str] = flag([], f"Sections, of {', '.join(SECTIONS)}; none: all.")
    limit_s: float = flag(720.0, "Seconds for all.")
    section_s: float = flag(120.0, "Seconds for a section.")

    def __post_init__(self) -> None:
        require_known("--only", self.only, SECTIONS)
        for name in ("limit_s", "section_s"):
            require(getattr(self, name) > 0, f"--{name} {getattr(self, name)}: expected more than 0")


class Check:
    """What was found so far, and the page of it."""

    def __init__(self, config: CheckConfig) -> None:
        self.output, self.section_s = Path(config.output), config.section_s
        self.ends = time.monotonic() + config.limit_s
        self.found: list[dict[str, Any]] = []
        self.notes: list[str] = []

    def write(self) -> None:
        self.output.write_text(page(self.found, self.notes))

    def run(self, name: str, *command: str) -> str | None:
        """Runs a module in a process, and takes what it prints, row by row.

        Returns:
            The end of what it printed, if it ended well.
        """
        left_s = min(self.section_s, self.ends - time.monotonic())
        if left_s <= 0:
            self.note(f"{name}: no time was left")
            return None
        started, printed = time.monotonic(), []
        arguments = [
            "timeout",
            "--kill-after=5",
            f"{left_s:.0f}",
            sys.executable,
            "-W",
            "ignore",
            "-m",
            *command,
        ]
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            for line in process.stdout:
                printed.append(line)
                for row in heard(line):
                    self.found.append(row)
                    self.write()
                    print(line.rstrip(), flush=True)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
        if process.returncode:
            how = f"was ended after {left_s:.0f} s" if process.returncode in (124, 137) else "failed"
            sys.stderr.write("".join(printed[-40:]))
            self.note(f"{name}: {how}")
            return None
        return printed[-1].strip() if printed else ""

    def note(self, text: str) -> None:
        print(text, flush=True)
        self.notes.append(f"- {text}")
        self.write()


def main(config: CheckConfig) -> None:
    check = Check(config)
    check.write()
    check.run("matmul", "scripts.gpu.measure", "--section", "matmul")
    for name in config.only or SECTIONS:
        check.run(name, "scripts.gpu.measure", "--section", name, "--size", config.size)
    if GPU_TESTS.is_dir() and not config.only:
        told = check.run(str(GPU_TESTS), "pytest", "-q", "-p", "no:cacheprovider", str(GPU_TESTS))
        if told is not None:
            check.note(f"`python -m pytest {GPU_TESTS}`: {told}")
    print(check.output.read_text())


if __name__ == "__main__":
    run_command(main, CheckConfig)
