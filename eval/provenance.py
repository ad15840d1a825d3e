"""What a score was made of: files, model, decoding, versions. A score file that was moved elsewhere still tells."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from training.utils.files.fingerprint import files_fingerprint
from training.utils.run.versions import versions

GENERATION = (
    "temperature",
    "topk",
    "topp",
    "num_beams",
    "max_new_tokens",
    "template",
    "num_return_sequences",
    "rollout_engine",
)
TRUTH = (".json", ".jsonl", ".txt", ".parquet", ".tsv", ".csv")
WEIGHTS = "--from_checkpoint: weights"


def args_file(predictions: Path) -> Path:
    """What predictions were made with lies beside them."""
    return predictions.with_name(f"{predictions.stem}.args.json")


def generation(predictions: Path) -> dict[str, Any]:
    """How the answers were made, from what eval.predict wrote beside them; empty if it did not."""
    record = _record(predictions)
    # What was resolved counts, not how it was spelled: a template `auto` has a name.
    known = record.get("arguments", {}) | record.get("identity", {}).get("settings", {})
    return {name: known[name] for name in GENERATION if name in known}


def provenance(predictions: str, truth: Sequence[str]) -> dict[str, Any]:
    """Where the answers, the truth and the model were, and digests of what they were; versions of scoring and, where
    eval.predict wrote them, of answering."""
    record = _record(Path(predictions))
    model = {
        "folder": record.get("arguments", {}).get("from_checkpoint"),
        "weights": record.get("identity", {}).get("inputs", {}).get(WEIGHTS),
    }
    starts = record.get("starts") or [{}]
    return {
        "predictions": _file(Path(predictions)),
        "truth": [_file(Path(path)) for path in truth if path],
        "model": {name: value for name, value in model.items() if value},
        "versions": {"scored": versions()}
        | ({"answered": starts[-1]["versions"]} if "versions" in starts[-1] else {}),
    }


def files_of(files: Sequence[Mapping[str, str]]) -> str:
    """Files as `provenance` has them, in words: their names and the digests of what they hold."""
    return ", ".join(sorted(f"{Path(file['file']).name} ({file['digest'][:12]})" for file in files))


def _record(predictions: Path) -> dict[str, Any]:
    file = args_file(predictions)
    if not file.is_file():
        return {}
    try:
        record = json.loads(file.read_text())
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _file(path: Path) -> dict[str, str]:
    inside = (file for file in path.rglob("*") if file.suffix in TRUTH and file.is_file())
    files = sorted(inside) if path.is_dir() else [path]
    return {"file": str(path.resolve()), "digest": files_fingerprint(files)}
