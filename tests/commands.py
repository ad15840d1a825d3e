"""Every command of the project, with mistakes that a user may make: `python -m tests.commands OUTPUT`.

A command is a module that does something under `python -m`. What they import is imported once; then each try is a
fork that runs the module as Python would.
"""

import contextlib
import dataclasses
import json
import os
import runpy
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from training.utils.process import cli, command

ROOT = Path(__file__).parent.parent
PACKAGES = ("data", "demo", "eval", "scripts", "training")
AT_A_TIME = 4
SOME_FILE, SOME_FOLDER = "a file", "a folder"
INPUT = "an input"
# Values that a flag needs so that a command begins; other flags without a default get an input.
VALUES = {
    "": {"from_checkpoint": INPUT, "data_path": INPUT, "reference": INPUT, "num_keep": "1"}
    | {"candidates": INPUT, "target": INPUT},
    "data.convert": {"kind": "prompts"},
    "eval.convert": {"reads": "llava"},
    "eval.expected": {"rows": "a=1=file:b"},
    "eval.judge": {"bench": "win_rate", "judge": "reward_model", "baseline": INPUT},
    "eval.report": {"spec": INPUT},
    "eval.rollouts": {"run": INPUT},
    "eval.score": {"bench": "pope"},
    "training.distill.train_distill": {"teacher": INPUT},
    "training.online.ready": {"model": INPUT, "reference": "start"},
    "training.online.score": {"reward_model_ckpt_path": INPUT},
    "training.ppo.train_ppo": {"reward_model_ckpt_path": INPUT},
    "training.utils.model.assemble": {"lm_model_name_or_path": INPUT, "vision_model_name_or_path": INPUT},
}
DEEPSPEED = "training.utils.process.deepspeed_launcher"  # its flags are those of `deepspeed`


def modules() -> list[str]:
    """Those that end with the lines that `python -m` runs."""
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    commands = [file for file in files if '__name__ == "__main__"' in file.read_text()]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts) for file in commands}
    return sorted(names - {DEEPSPEED})


def flags_of(module: str) -> list[dataclasses.Field] | None:
    """The flags of a command; none if it does not start through the one place for it."""
    source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
    if "run_command(" not in source and "run_stage(" not in source:
        return None  # it would begin its work here
    found = []

    def take(_main, *config_classes: type) -> None:
        found.append([field for config_class in config_classes for field in dataclasses.fields(config_class)])

    starts = command.run_command, cli.run_stage
    command.run_command = cli.run_stage = take
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has been imported before
            runpy.run_module(module, run_name="__main__")
    finally:
        command.run_command, cli.run_stage = starts
    return found[0] if len(found) == 1 else None


def untried_outputs(flags: list[dataclasses.Field]) -> list[str]:
    """What is called an output, and does not say what is written there."""
    outputs = [flag for flag in flags if flag.name.startswith("output")]
    return [flag.name for flag in outputs if flag.metadata.get("writes") not in ("file", "folder")]


def values_of(module: str, flags: list[dataclasses.Field]) -> dict[str, str]:
    """A value for each flag that has to have one, `INPUT` where it is something to read."""
    values = {}
    for flag in flags:
        is_needed = flag.default is flag.default_factory is dataclasses.MISSING
        special = VALUES.get(module, {}).get(flag.name) or VALUES[""].get(flag.name)
        if flag.metadata.get("writes"):
            values[flag.name] = "out/out"
        elif special:
            values[flag.name] = special
        elif "choices" in flag.metadata:
            values |= {flag.name: str(flag.metadata["choices"][0])} if is_needed else {}
        elif is_needed:
            values[flag.name] = "1" if flag.type in (int, list[int], float) else INPUT
    return values


def tries(module: str, flags: list[dataclasses.Field]) -> Iterator[tuple[str, dict[str, str]]]:
    """Mistakes: what is wrong, and the command line's flags."""
    values = values_of(module, flags)
    yield "unknown flag", values | {"no_such_flag": "x"}
    for flag in flags:
        if kind := flag.metadata.get("writes"):
            wrong = SOME_FOLDER if kind == "file" else SOME_FILE
            yield f"--{flag.name} is {wrong}", values | {flag.name: wrong}
            yield f"--{flag.name} below a file", values | {flag.name: f"{SOME_FILE}/out"}
    if INPUT in values.values():
        for wrong in ("nothing", SOME_FILE, SOME_FOLDER):
            yield f"input is {wrong}", {n: wrong if v == INPUT else v for n, v in values.items()}


def attempt(module: str, values: dict[str, str], folder: Path) -> None:
    """Runs the command in this process, which ends with it."""
    os.chdir(folder)
    (folder / SOME_FILE).write_bytes(b"\xff\x00 no sense {")
    (folder / SOME_FOLDER).mkdir()
    for number, name in enumerate(("stdout", "stderr"), 1):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv[1:] = [word for name, value in values.items() for word in (f"--{name}", value)]
    status = 0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else 1
    with contextlib.suppress(OSError):
        sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


def main(output: Path) -> None:
    """Writes what became of each try, as JSON: command -> mistake -> exit status and what it said; `outputs` are
    those that no command tries before its work."""
    results: dict[str, dict[str, list] | None] = {}
    running: dict[int, tuple[str, str, Path]] = {}
    with tempfile.TemporaryDirectory() as name:

        def collect() -> None:
            process, status = os.wait()
            module, mistake, folder = running.pop(process)
            told = os.waitstatus_to_exitcode(status), (folder / "stderr").read_text()
            results[module][mistake] = list(told)

        for module in modules():
            flags = flags_of(module)
            results[module] = None if flags is None else {"outputs": untried_outputs(flags)}
            for number, (mistake, values) in enumerate(
                tries(module, flags or []) if flags is not None else ()
            ):
                folder = Path(name) / f"{module}-{number}"
                folder.mkdir()
                if not (process := os.fork()):
                    attempt(module, values, folder)
                running[process] = module, mistake, folder
                if len(running) == AT_A_TIME:
                    collect()
        while running:
            collect()
    output.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
