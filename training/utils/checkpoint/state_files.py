"""The files of a state, in the folder `state/` of a checkpoint: safetensors and JSON, which hold no code.

    run.json                      by the main process: the step, what the stage remembers, what each engine knows
    random-R.json                 random numbers of process R
    ENGINE-R-00.safetensors, ...  fragments of the masters and moments of process R, as `KIND/NAME@START`

Any number of processes can read them, at any ZeRO stage: each takes the elements that it needs from whatever files
they are in. Masters of a model that is trained in fp32 are its weights, and stand in the model's own files alone,
by the names that it has on the hub, unless those files hold them in another form.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..data.record import DataError
from ..files.model_folder import HEAD, HEAD_FILE
from ..process import dist
from .engine_state import MASTER

VERSION = 2  # 1 was pickled
RUN = "run.json"
RANDOM = "random-{}.json"  # of each process
FILE_BYTES = 2**31  # of fragments in a file, about: no more of them are held twice while it is written

Piece = tuple[int, int, Any, str]  # of a flattened tensor: start, end, the file that holds it, the key there


def write_fragments(fragments: dict[str, Tensor], folder: Path, engine: str) -> list[Path]:
    """Writes what this process has of an engine, and returns the files."""
    written = []
    for number, part in enumerate(_parts(fragments)):
        written.append(folder / f"{engine}-{dist.rank()}-{number:02}.safetensors")
        save_file({key: tensor.cpu() for key, tensor in part.items()}, written[-1])
    return written


def _parts(fragments: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    part, size = {}, 0
    for key, tensor in fragments.items():
        part[key] = tensor
        size += tensor.nbytes
        if size >= FILE_BYTES:
            yield part
            part, size = {}, 0
    if part:
        yield part


def write_facts(facts: dict[str, Any], folder: Path) -> None:
    (folder / RUN).write_text(json.dumps({"version": VERSION} | facts, indent=1) + "\n")


def read_facts(folder: Path) -> dict[str, Any]:
    """What `write_facts` wrote into a folder.

    Raises:
        DataError: it is a state of another version.
    """
    file = folder / RUN
    if not file.is_file():
        found, version = "1 (its state is pickled, which can run code)", "of before"
    elif (facts := json.loads(file.read_text()))["version"] == VERSION:
        return facts
    else:
        found, version = facts["version"], "that wrote it"
    raise DataError(
        f"{folder.parent}: is a checkpoint of version {found}, and this program reads version {VERSION}; end the run "
        f"with the program {version}, or train on from its model, --from_checkpoint, in another --output_dir"
    )


class Fragments:
    """What lies in the files of a state, to be read by the element."""

    def __init__(
        self, folder: Path, engine: str, model: Path | None = None, places: Mapping[str, str] | None = None
    ) -> None:
        """
        Args:
            model: the folder of a model whose weights are the masters, where the state holds none.
            places: what its files call a weight.
        """
        self.folder = folder
        self.engine = engine
        self._files = ExitStack()
        self._found: dict[str, list[Piece]] = {}  # by kind and name
        for opened, key in self._tensors(folder.glob(f"{engine}-*.safetensors")):
            what, start = key.rsplit("@", 1)
            self._found.setdefault(what, []).append(_piece(opened, key, int(start)))
        if model:
            self._find_masters(model, {there: name for name, there in (places or {}).items()})

    def _find_masters(self, model: Path, names: Mapping[str, str]) -> None:
        """Takes the weights of a model for the masters that there are no fragments of. A folder of before has those
        of the modules, without the engine's `model.` or `v_head.`.

        Args:
            names: of weights, by those in its files.
        """
        whole: dict[str, list[Piece]] = {}
        for files, before in (("model*.safetensors", "model."), (HEAD_FILE, HEAD)):
            for opened, key in self._tensors(model.glob(files)):
                whole[f"{MASTER}/{names.get(key, before + key)}"] = [_piece(opened, key, 0)]
        self._found = whole | self._found

    def _tensors(self, files: Iterable[Path]) -> Iterator[tuple[Any, str]]:
        """The tensors of some files: each file, and its key there."""
        for file in sorted(files):
            opened = self._files.enter_context(safe_open(file, framework="pt"))
            for key in opened.keys():  # noqa: SIM118  (it is no dict)
                yield opened, key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def read(self, kind: str, name: str, start: int, numel: int) -> Tensor:
        """Some elements of a flattened tensor, [numel].

        Raises:
            DataError: not all of them are there.
        """
        parts, at, end = [], start, start + numel
        pieces = sorted(self._found.get(f"{kind}/{name}", ()), key=lambda piece: piece[0])
        for first, last, opened, key in pieces:
            if first <= at < (stop := min(last, end)):
                parts.append(_elements(opened, key, at - first, stop - first))
                at = stop
        if at < end:
            raise DataError(
                f"{self.folder}: holds no {kind} of elements {at} to {end} of {name} of the {self.engine}; resume "
                "from another checkpoint"
            )
        return torch.cat(parts) if parts else torch.empty(0)

    def lacks(self, kind: str, names: Iterable[str]) -> list[str]:
        """Of which tensors there is nothing of that kind."""
        return [name for name in names if f"{kind}/{name}" not in self._found]


def _piece(opened: Any, key: str, start: int) -> Piece:
    return start, start + prod(opened.get_slice(key).get_shape()), opened, key


def _elements(opened: Any, key: str, start: int, end: int) -> Tensor:
    """Elements of a flattened tensor in a file: only the rows that hold them are read."""
    part = opened.get_slice(key)
    shape = part.get_shape()
    if len(shape) < 2:
        return opened.get_tensor(key).flatten()[start:end] if not shape else part[start:end]
    row = prod(shape[1:])
    first = start // row
    rows = part[first : -(-end // row)].flatten()
    return rows[start - first * row : end - first * row]
