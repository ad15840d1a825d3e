"""Predictions as lines of JSON, written as they come, so that a run that was stopped goes on where it was."""

import json
from collections import defaultdict, deque
from collections.abc import Sequence
from pathlib import Path

from training.utils import dist, jsonl
from training.utils.data.record import DataError, Record
from training.utils.stage_config import PredictConfig

SETTINGS = (  # that an answer depends on, beside the prompt
    "from_checkpoint",
    "template",
    "temperature",
    "topk",
    "topp",
    "num_beams",
    "max_new_tokens",
    "num_return_sequences",
    "reward_model_ckpt_path",
    "seed",
)


def args_file(predictions: Path) -> Path:
    """The arguments that predictions were made with lie beside them."""
    return predictions.with_name(f"{predictions.stem}.args.json")


def require_same_settings(output: Path, config: PredictConfig) -> None:
    """A run goes on with the settings that it began with: one file of answers is of one kind.

    Raises:
        DataError: a setting was another when the first answers were made.
    """
    record = args_file(output)
    before = json.loads(record.read_text())["arguments"] if record.is_file() else {}
    for name in SETTINGS:
        if name in before and before[name] != getattr(config, name):
            raise DataError(
                f"{output}: was begun with --{name} {before[name]}, and this run has {getattr(config, name)}; "
                "choose another --output_path, or remove the file"
            )


def prediction(record: Record, responses: list[str], scores: list[float] | None) -> dict:
    best = max(range(len(responses)), key=scores.__getitem__) if scores else 0
    line = {
        "id": record.id,
        "image": [str(image) if isinstance(image, Path) else str(image.size) for image in record.images],
        "prompt": record.turns[-1].text,
        "response": responses[best],
        "responses": responses,
    }
    if scores:
        line["scores"] = scores
    label = record.label or (record.responses[0] if record.responses else None)
    return line | ({"label": label} if label is not None else {})


class Lines:
    """Predictions as they come, one file for each process, merged in the order of the prompts at the end.

    A line belongs to the prompt of its id, text and pictures, so a run also goes on after other records were mended
    or left out.
    """

    def __init__(self, output: Path, records: Sequence[Record]) -> None:
        self.output = output
        self.records = records
        output.parent.mkdir(parents=True, exist_ok=True)
        self.done = set(self._written())
        dist.barrier()
        part = self._part(dist.rank())
        jsonl.mend(part)
        self._file = part.open("a")

    def _part(self, rank: int | str) -> Path:
        return self.output.with_name(f".{self.output.name}.part-{rank}")

    def _written(self) -> dict[int, dict]:
        """The lines of this run and of those before it, by the number of the prompt.

        Raises:
            DataError: a line answers no prompt.
        """
        numbers = defaultdict(deque)
        for number, record in enumerate(self.records):
            numbers[key(prediction(record, [""], None))].append(number)
        written = {}
        files = [self.output] if self.output.is_file() else []
        for file in files + sorted(self.output.parent.glob(self._part("*").name)):
            for line in jsonl.read(file):
                if not numbers[key(line)]:
                    raise DataError(
                        f"{file}: holds an answer to id={line['id']}, which is none of these prompts, or is answered "
                        "already; choose another --output_path, or remove the file"
                    )
                written[numbers[key(line)].popleft()] = line
        return written

    def write(self, line: dict) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def merge(self) -> None:
        """Writes the whole file in one go, and removes the parts."""
        lines, total = self._written(), len(self.records)
        if len(lines) < total:
            raise DataError(
                f"{self.output}: {total - len(lines)} of {total} predictions are missing; run again"
            )
        temporary = self.output.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(lines[number]) + "\n" for number in range(total)))
        temporary.replace(self.output)
        for part in self.output.parent.glob(self._part("*").name):
            part.unlink()


def key(line: dict) -> tuple:
    """What a line answers. A picture that came without a file is known by its size alone."""
    return line["id"], line["prompt"], tuple(line["image"])


def write_legacy(output: Path) -> None:
    """The same predictions as ` ||| ` lines: id, image, prompt, response, label."""
    with output.with_suffix(".res").open("w") as file:
        for line in jsonl.read(output):
            parts = [line["id"], ",".join(line["image"]), line["prompt"], line["response"], line.get("label")]
            file.write(" ||| ".join(str(part).replace("\n", "\\n") for part in parts) + "\n")
