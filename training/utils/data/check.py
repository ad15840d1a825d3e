"""The check of all records before a model is loaded, once for a data set.

What was found in a large data set is kept beside the converted rows, under a key of files, tokenizer, template and
settings; the next start reads it. One process of each node looks, with all its cores, while the others wait.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..process import dist
from .encode import Encoder
from .entries import Entries, cache_folder, files_of, paths_of, read_entries, stamp
from .failures import Failure, settle
from .look import Inspector, Verdict, look
from .reader import Reader
from .record import DataError
from .records import Records, draw

HEADERS_ABOVE = 50_000  # entries: of more, pictures are known by their headers, unless asked otherwise
KEPT_ABOVE = 5_000  # entries: what was found in fewer is looked for again at each start
VERSION = 4  # of what is kept


def load_records(
    data_path: str,
    reader: Reader,
    encoder: Encoder | None = None,
    *,
    on_bad_record: str = "error",
    verify_images: str = "auto",
    samples: int | None = None,
    seed: int = 0,
    exact: bool = False,
) -> Records:
    """The records of everything that a path names, each looked at. All processes must call it.

    Args:
        encoder: says whether prompt and responses fit; none: that is not looked at.
        on_bad_record: "error", or "skip": leave such records out, and tell.
        verify_images: "full" decodes each picture, "header" reads its header, "none" trusts it; "auto": full up to
            50,000 records, else header.
        samples: how many records to draw at random; none: all.
        exact: the tokens of each record are counted, which takes longer than to see that they are few enough.

    Raises:
        DataError: a record is bad and `on_bad_record` is "error", or no record is left.
    """
    entries = dist.first_on_node(lambda: read_entries(data_path))
    places = draw(len(entries), samples, seed)
    require_folder(reader.image_folder)
    if verify_images == "auto":
        verify_images = "full" if len(places) <= HEADERS_ABOVE else "header"
    verdict = check(data_path, entries, places, reader, Inspector(encoder, verify_images, exact))
    settle(verdict.failures, len(places), on_bad_record == "skip")
    if not len(verdict.places):
        raise DataError(f"{data_path}: no usable record among {len(places)}; expected at least one")
    require_alike(data_path, verdict)
    if dist.is_main():
        print(describe(verdict), flush=True)
    return checked(entries, reader, verdict)


def checked(entries: Entries, reader: Reader, verdict: Verdict) -> Records:
    """The entries that are records."""
    return Records(entries, reader, verdict.places, verdict.facts)


def require_folder(image_folder: str | None) -> None:
    """
    Raises:
        DataError: there is no such folder.
    """
    if image_folder and not Path(image_folder).is_dir():
        raise DataError(f"--image_folder {image_folder}: no such folder")


def require_alike(data_path: str, verdict: Verdict) -> None:
    """
    Raises:
        DataError: processes have found other records, so they would not train on the same.
    """
    found = hashlib.sha256(verdict.places.tobytes() + verdict.of("images").tobytes()).hexdigest()
    others = [rank for rank, other in enumerate(dist.gather_objects(found)) if other != found]
    if others:
        raise DataError(
            f"{data_path}: process {dist.rank()} finds {len(verdict.places):,} records there, and process "
            f"{others[0]} others; expected the same files on every node"
        )


def check(
    data_path: str, entries: Entries, places: np.ndarray, reader: Reader, inspector: Inspector
) -> Verdict:
    """`look`, remembered: what was found in a large data set before is read again. All processes must call it."""
    if len(places) <= KEPT_ABOVE:
        return look(entries, places, reader, inspector, dist.cores())
    folder = cache_folder("checks") / _key(data_path, places, reader, inspector)

    def kept() -> Verdict:
        if not (folder / "failures.json").is_file():
            _keep(look(entries, places, reader, inspector, dist.cores(of_node=True)), folder)
        return _read(folder)

    return dist.first_on_node(kept)


def _key(data_path: str, places: np.ndarray, reader: Reader, inspector: Inspector) -> str:
    parts = [
        VERSION,
        stamp([*data_files(data_path), *map(Path, reader.captions.split())]),
        hashlib.sha256(np.ascontiguousarray(places).tobytes()).hexdigest(),
        asdict(reader),
        inspector.encoder.fingerprint if inspector.encoder else "",
        inspector.verify_images,
        inspector.exact,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def data_files(data_path: str) -> list[Path]:
    """The files that hold the rows of everything that a path names."""
    return [
        file
        for path in paths_of(data_path)
        for file in (sorted(path.glob("*.arrow")) if (path / "state.json").is_file() else files_of(path))
    ]


def _keep(verdict: Verdict, folder: Path) -> None:
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    np.save(temporary / "places.npy", verdict.places)
    np.save(temporary / "facts.npy", verdict.facts)
    (temporary / "failures.json").write_text(json.dumps([asdict(each) for each in verdict.failures]))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _read(folder: Path) -> Verdict:
    failures = [Failure(**each) for each in json.loads((folder / "failures.json").read_text())]
    places, facts = (np.load(folder / name, allow_pickle=False) for name in ("places.npy", "facts.npy"))
    return Verdict(places, facts, failures)


def describe(verdict: Verdict) -> str:
    """What a person wants to know of the records before the run begins."""
    images = verdict.of("images")
    with_pictures = int((images > 0).sum())
    said = [
        f"{len(images):,} records: {with_pictures:,} with {int(images.sum()):,} pictures, "
        f"{len(images) - with_pictures:,} text only"
    ]
    for name, words in (
        ("responses_cut", "answers are cut at --max_seq_len"),
        ("turns_dropped", "old turns are dropped so that an answer fits into --max_seq_len"),
        ("scaled", "pictures are scaled down to --max_pixels"),
    ):
        total, records = int(verdict.of(name).sum()), int((verdict.of(name) > 0).sum())
        if total:
            said.append(f"{total:,} {words}, in {records:,} records")
    special = int((verdict.of("special") > 0).sum())
    if special:
        said.append(
            f"{special:,} records hold what looks like special tokens in their words; it is read as plain characters "
            "(--word_tokens makes tokens of it)"
        )
    return "\n".join(said)
