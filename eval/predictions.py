"""Predictions as lines of JSON, written as they come, so that a run that was stopped goes on where it was."""

import hashlib
import json
import math
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from eval.provenance import args_file
from training.utils.config.model_config import ModelConfig
from training.utils.data.check import data_files
from training.utils.data.images import image_size
from training.utils.data.legacy_lines import legacy_file
from training.utils.data.record import DataError, Picture, Record
from training.utils.files import jsonl
from training.utils.files.fingerprint import files_fingerprint
from training.utils.files.whole import write_whole
from training.utils.process import dist
from training.utils.run.identity import Identity
from training.utils.run.run_record import RunRecord
from training.utils.run.set_aside import set_aside


def parts(output: Path, rank: int | str = "*") -> list[Path]:
    """What processes, or one, have written of a file that is not whole yet."""
    return sorted(output.parent.glob(f".{output.name}.part-{rank}"))


def with_content(identity: Identity, data_path: str) -> Identity:
    """For what depends on the records as a whole: what their files hold decides the outcome too."""
    content = {"--data_path: content": files_fingerprint(data_files(data_path))}
    return replace(identity, inputs=identity.inputs | content)


def begin(output: Path, config: ModelConfig, identity: Identity) -> None:
    """Starts predictions, or goes on with those that are there: one file of answers is of one kind.

    Answers of a model that has changed since are set aside, and all prompts are answered anew. The main process
    calls it.

    Raises:
        DataError: a setting was another when the first answers were made.
    """
    record = RunRecord.read(args_file(output))
    answers = [file for file in (output, *parts(output)) if file.is_file()]
    if answers:
        if record and (changed := identity.changed_settings(record.identity)):
            raise DataError(
                f"{output}: was begun with {'; '.join(changed)}; choose another --output_path, or remove the file"
            )
        why = f"nothing beside them says what made them; expected {args_file(output).name}"
        if record:
            why = "; ".join(identity.changed_inputs(record.identity))
        if why:
            beside = filter(Path.is_file, (legacy_file(output), args_file(output)))
            stale = dict.fromkeys([*answers, *beside])
            place = set_aside(stale, output.parent)
            print(
                f"{output}: the answers there are set aside in {place}: {why}; all are made anew", flush=True
            )
            answers = []
    if not answers or record is None:
        record = RunRecord.of(config, identity)
    record.start(config)
    record.write(args_file(output))


def prediction(
    record: Record, responses: list[str], scores: list[float] | None, ended: list[bool] | None = None
) -> dict:
    """The line of a prompt. Its response is the one with the best score; NaN is below all.

    Args:
        ended: which responses came to their end by themselves, before their longest length.
    """
    best = max(range(len(responses)), key=lambda place: rankable(scores[place])) if scores else 0
    line = {
        "id": record.id,
        "image": [str(image if isinstance(image, Path) else image_size(image)) for image in record.images],
        "prompt": record.turns[-1].text,
        "prompt_digest": prompt_digest(record),
        "response": responses[best],
        "responses": responses,
    }
    if ended is not None:
        line["ended"] = ended
    if scores:
        line["scores"] = scores
    return with_label(line, label_of(record))


def rankable(score: float) -> float:
    """A score that compares with others: NaN, which is neither more nor less than any, as the lowest of all."""
    return -math.inf if math.isnan(score) else score


def label_of(record: Record) -> str | None:
    """What a line of predictions says that is right."""
    return record.label or (record.responses[0] if record.responses else None)


def with_label(line: dict, label: str | None) -> dict:
    rest = {name: value for name, value in line.items() if name != "label"}
    return rest if label is None else rest | {"label": label}


class Lines:
    """Predictions as they come, one file for each process, merged in the order of the prompts at the end.

    A line belongs to the prompt of its id, turns and pictures, so a run also goes on after other records were mended
    or left out.
    """

    def __init__(
        self,
        output: Path,
        records: Sequence[Record],
        digest: Callable[[Record], str] | None = None,
        label: Callable[[Record], str | None] | None = None,
        reads_label: bool = False,
    ) -> None:
        """
        Args:
            digest: of what a line depends on, its `prompt_digest`; none: the prompt.
            label: what a line holds as `label`; where that was mended since, the whole file has the new one. None:
                lines have no label.
            reads_label: what else a line holds depends on its label too: one with another label is no answer.
        """
        self.output = output
        self.reads_label = reads_label
        self.keys, self.labels = [], []
        for record in records:
            self.labels += [label(record)] if label else []
            read = reads_label and self.labels[-1]
            self.keys.append((record.id, (digest or prompt_digest)(record), read))
        output.parent.mkdir(parents=True, exist_ok=True)
        self.done = set(self._written())
        self.todo = [number for number in range(len(records)) if number not in self.done]
        dist.barrier()
        self._part = output.with_name(f".{output.name}.part-{dist.rank()}")
        jsonl.mend(self._part)

    def _written(self) -> dict[int, dict]:
        """The lines of this run and of those before it, by the number of the prompt.

        Raises:
            DataError: a line answers no prompt.
        """
        numbers = defaultdict(deque)
        for number, name in enumerate(self.keys):
            numbers[name].append(number)
        written, merged = {}, defaultdict(list)
        by_label = " with the labels that its scores depend on" if self.reads_label else ""
        for file in (self.output, *parts(self.output)):
            for line in jsonl.read(file):
                if file == self.output:
                    merged[self.key(line)].append(line)
                if not numbers[self.key(line)]:
                    if file != self.output and line in merged[self.key(line)]:
                        continue  # a run was killed between its last two acts: the whole file, and the parts' removal
                    raise DataError(
                        f"{file}: holds an answer to id={line['id']}, which is none of these prompts{by_label}, or "
                        "is answered already; choose another --output_path, or remove the file"
                    )
                written[numbers[self.key(line)].popleft()] = line
        return written

    def key(self, line: dict) -> tuple[str, str | None, str | None | bool]:
        """What a line answers."""
        return line["id"], line.get("prompt_digest"), self.reads_label and line.get("label")

    def batches(self, size: int) -> list[list[int]]:
        """The numbers of the prompts that are left to this process, at most `size` at a time."""
        mine = self.todo[dist.rank() :: dist.world_size()]
        return [mine[first : first + size] for first in range(0, len(mine), size)]

    def write(self, line: dict) -> None:
        jsonl.append(self._part, line)

    def merge(self) -> None:
        """Writes the whole file in one go, and removes the parts."""
        lines, total = self._written(), len(self.keys)
        if len(lines) < total:
            raise DataError(
                f"{self.output}: {total - len(lines)} of {total} predictions are missing; run again"
            )
        whole = [lines[number] for number in range(total)]
        if self.labels:
            whole = map(with_label, whole, self.labels)
        write_whole(self.output, "".join(json.dumps(line) + "\n" for line in whole))
        for part in parts(self.output):
            part.unlink()


def prompt_digest(record: Record) -> str:
    """Of all that a model is shown: the system prompt, the turns, and the pictures wherever they lie."""
    turns = [[turn.role, turn.text] for turn in record.turns]
    return _digest(json.dumps([record.system, turns, list(map(picture_digest, record.images))]).encode())[:16]


def picture_digest(picture: Picture) -> str:
    if isinstance(picture, Path):
        return _file_digest(picture, picture.stat().st_mtime_ns)
    return _digest(picture if isinstance(picture, bytes) else picture.tobytes())


@cache
def _file_digest(file: Path, mtime_ns: int) -> str:
    return _digest(file.read_bytes())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
