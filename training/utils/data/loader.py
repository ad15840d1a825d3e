"""Records to batches: encoded by worker processes while others are trained on, one list of micro-batches a step."""

import resource
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import ceil
from time import monotonic
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from ..process import dist
from ..process.progress import progress
from ..process.stop import outlive_signals
from .encode import Encoder
from .failures import Failure, failure, settle
from .record import DataError, Record
from .records import Records, have_images
from .sampler import StepSampler
from .tree import Batch, Tree, collate, pack

Encode = Callable[[Sequence[Record]], list[Tree]]  # the trees of a micro-batch
T = TypeVar("T")
NUM_SUBSTITUTES = 16  # neighbours that are tried in place of a record that can't be read any more


@dataclass
class Data:
    """What a stage learns from, and how records become trees."""

    train: Records
    held_out: Records
    sampler: StepSampler
    encoder: Encoder
    encode: Encode
    skips_bad: bool = False  # go on without records that can't be read any more
    failures: list[Failure] = field(default_factory=list)  # those of this process
    waited_s: float = 0.0  # seconds that this process waited for the newest step's data


class Trees(Dataset):
    """Records, encoded when a micro-batch asks for them. One that can't be read any more is replaced by the next."""

    def __init__(self, records: Sequence[Record], encode: Encode) -> None:
        self.records = records
        self.encode = encode

    def __len__(self) -> int:
        return len(self.records)

    def __getitems__(self, numbers: list[int]) -> tuple[list[Tree], list[Failure]]:
        """The trees of a micro-batch, and what could not be read. Which record stands in depends on that alone."""
        failures: list[Failure] = []
        try:
            return self.encode([self.records[number] for number in numbers]), failures
        except DataError:
            usable = [self._usable(number, failures) for number in numbers]
            return self.encode(usable), failures

    def _usable(self, number: int, failures: list[Failure]) -> Record:
        """The record of a number, or the first behind it that can be encoded."""
        for step in range(NUM_SUBSTITUTES):
            place = (number + step) % len(self.records)
            try:
                record = self.records[place]
                self.encode([record])
                return record
            except DataError as error:
                failures.append(failure(self._where(place), None, error))
        raise DataError(f"{failures[-1]}; nor can any of the {NUM_SUBSTITUTES - 1} records before it be read")

    def _where(self, place: int) -> str:
        records = self.records
        return records.where(place) if isinstance(records, Records) else records[place].source


class Collator:
    """Trees to a batch: a row each, or packed; a row for each response where the family takes no trees."""

    def __init__(self, encoder: Encoder, has_images: bool, packing: bool = False) -> None:
        self.encoder = encoder
        self.packing = packing and encoder.family.takes_trees
        self.filler = encoder.filler() if has_images else None

    def __call__(self, trees: Sequence[Tree]) -> Batch:
        family = self.encoder.family
        if not family.takes_trees:
            trees = [branch for tree in trees for branch in tree.branches()]
        if self.filler and not any(tree.vision for tree in trees):
            # Other processes have pictures: this one must run the same modules, or collectives would hang.
            trees = [*trees, self.filler]
        rows = pack(trees, self.encoder.max_seq_len) if self.packing else [[tree] for tree in trees]
        batch = collate(rows, self.encoder.tokenizer.pad_token_id, family.stack_vision)
        return batch.with_pixels_in(self.encoder.pixel_dtype)


def step_batches(data: Data, packing: bool, num_workers: int) -> Iterator[list[Batch]]:
    """For each optimizer step, this process's micro-batches, from where a device can take them one by one."""
    return _steps(data, Collator(data.encoder, data.train.has_images, packing), num_workers)


def step_trees(data: Data, num_workers: int) -> Iterator[list[list[Tree]]]:
    """For each step, this process's micro-batches as trees, for stages that sample the responses themselves."""
    return _steps(data, list, num_workers)


@dataclass(frozen=True)
class _Collated:
    """What a worker hands over: a micro-batch, and what could not be read for it."""

    collate: Callable[[list[Tree]], Any]

    def __call__(self, fetched: tuple[list[Tree], list[Failure]]) -> tuple[Any, list[Failure]]:
        trees, failures = fetched
        return self.collate(trees), failures


def _steps(data: Data, collate_fn: Callable, num_workers: int) -> Iterator:
    """
    Raises:
        DataError: a record can't be read any more, and bad ones are not to be skipped.
    """
    _allow_open_files()
    sampler = data.sampler
    steps = range(sampler.start_step, sampler.num_steps)
    num_first = len(sampler.micro_batches(steps.start)) if steps else 0
    loader = DataLoader(
        Trees(data.train, data.encode),
        batch_sampler=sampler,
        collate_fn=_Collated(collate_fn),
        num_workers=num_workers,
        # The micro-batches of a whole step are made while one before it is trained on.
        prefetch_factor=max(2, ceil(num_first / num_workers)) if num_workers else None,
        pin_memory=dist.device().type == "cuda",
        worker_init_fn=outlive_signals,
    )
    micro_batches = iter(loader)
    for step in steps:
        started = monotonic()
        fetched = list(islice(micro_batches, len(sampler.micro_batches(step))))
        data.waited_s = monotonic() - started
        failures = [each for _, failures in fetched for each in failures]
        settle(failures, len(data.train), data.skips_bad)
        data.failures += failures
        yield [micro_batch for micro_batch, _ in fetched]


def _allow_open_files() -> None:
    """As many as the system lets: each tensor from a worker is one, and many micro-batches are on the way."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def flow(batches: Sequence[Batch], waited_s: float) -> dict[str, float]:
    """What a step took from the data, over all processes: tokens, the share of padding, and the seconds that the
    process waited that waited longest. All processes must call it."""
    mine = [sum(each.num_tokens for each in batches), sum(each.num_places for each in batches), waited_s]
    tokens, places, waits = dist.gather_numbers(mine).unbind(1)
    return {
        "tokens": float(tokens.sum()),
        "padding": float(1 - tokens.sum() / places.sum()),
        "waited_s": float(waits.max()),
    }


def eval_shares(records: Sequence[T], batch_size: int) -> Iterator[tuple[Sequence[T], bool]]:
    """This process's share of the records, or of their numbers, each once, in batches; and whether the batch counts.

    All processes get the same number of batches, as ZeRO-3 needs; a process without enough records repeats
    one that does not count.
    """
    mine = records[dist.rank() :: dist.world_size()]
    longest = len(range(0, len(records), dist.world_size()))
    for first in range(0, longest, batch_size):
        progress.mark()
        share = mine[first : first + batch_size]
        yield share or records[:1], bool(share)


def eval_batches(
    records: Sequence[Record],
    encoder: Encoder,
    batch_size: int,
    packing: bool = False,
    encode: Encode | None = None,
    skips_bad: bool = False,
) -> Iterator[tuple[Batch, bool]]:
    """The batches of `eval_shares` on the device, and whether they count.

    Args:
        skips_bad: another record stands in for one that can't be read any more, as in training.

    Raises:
        DataError: a record can't be read any more, and bad ones are not to be skipped.
    """
    collator = Collator(encoder, have_images(records), packing)
    for share, counts in eval_shares(range(len(records)), batch_size):
        trees = read_trees(records, share, encode or encoder.encode_all, skips_bad)
        yield collator(trees).to(dist.device()), counts


def read_trees(
    records: Sequence[Record], numbers: Sequence[int], encode: Encode, skips_bad: bool
) -> list[Tree]:
    """The trees of the records of these numbers. Arguments and errors as of `eval_batches`."""
    trees, failures = Trees(records, encode).__getitems__(list(numbers))
    settle(failures, len(records), skips_bad)
    return trees
