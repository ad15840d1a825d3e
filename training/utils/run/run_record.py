"""`args.json`: what a run is, and how often it was started."""

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from ..files.whole import write_whole
from ..process import dist
from .identity import Identity
from .versions import versions

RECORD_FILE = "args.json"


@dataclass
class RunRecord:
    arguments: dict[str, Any]  # of the first start: what trained, or answered
    identity: Identity
    starts: list[
        dict[str, Any]
    ]  # each with its time, command, versions and commit, and which arguments it changed

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """What was written; none if there is no file, or it does not say what a run is."""
        try:
            record = json.loads(file.read_text())
            return cls(record["arguments"], Identity(**record["identity"]), record["starts"])
        except (FileNotFoundError, json.JSONDecodeError, KeyError, TypeError):
            return None

    @classmethod
    def of(cls, config: Any, identity: Identity) -> Self:
        """A run that has not been started."""
        return cls(dataclasses.asdict(config), identity, [])

    def start(self, config: Any, **more: Any) -> None:
        """Adds a start, by the command line of this process, to those before."""
        changed = {
            name: value
            for name, value in dataclasses.asdict(config).items()
            if self.arguments.get(name, value) != value
        }
        self.starts.append(
            {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "command": sys.argv,
                "versions": versions(),
                "commit": _commit(),
                "processes": dist.world_size(),
                "changed": changed,
                **more,
            }
        )

    def write(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(dataclasses.asdict(self), indent=2) + "\n")


def _commit() -> str | None:
    found = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None
