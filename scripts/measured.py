"""What a process measured, as lines among what else it prints."""

import json
from typing import Any

PREFIX = "measured: "


def say(found: dict[str, Any]) -> None:
    print(PREFIX + json.dumps(found), flush=True)


def heard(output: str) -> list[dict[str, Any]]:
    """What was said in an output."""
    lines = output.splitlines()
    return [json.loads(line.removeprefix(PREFIX)) for line in lines if line.startswith(PREFIX)]
