"""`--cache_image_features`: what a frozen tower says of each picture is computed once, for all epochs and runs.

A folder's name is made of what the tower and the image processor are, and a picture's key of its content: so no stale
feature can be taken, and runs of several models may share a folder, at the same time too.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..config.train_config import TrainConfig
from ..files.tensor_store import TensorStore
from ..model.policy import Policy
from ..model.tower import FrozenTower, frozen_towers
from ..model.value_head import ValueModel
from ..process import dist
from ..process.patience import comes_true
from ..process.progress import progress
from ..process.stop import outlive_signals
from .encode import Encoder
from .features import PIXELS, Features, Vision, kept
from .loader import Data, Encode
from .record import DataError, Record
from .records import have_images

SEEN_S = 60.0  # that files of other processes may take to be seen here: network disks are slow to tell
LOOK_S = 1.0


def keep_features(config: TrainConfig, model: Policy | ValueModel, data: Data) -> None:
    """Has pictures read as features from now on, by the encoder of `data` and by the tower of `model`; those that are
    not on disk yet are computed, each process its share.

    Raises:
        DataError: the family's features can't be kept, a record can't be read, or processes do not share the folder.
    """
    encoder = data.encoder
    if not config.cache_image_features or not (have_images(data.train) or have_images(data.held_out)):
        return
    if not encoder.family.keeps_features(model.model.config):
        raise DataError(
            f"--cache_image_features: not with a model of type {model.model.config.model_type}, whose tower's output "
            "has no part for each picture alone; leave it out"
        )
    (tower,) = frozen_towers(model)
    name = dist.from_main(lambda: folder_name(tower, encoder))
    if dist.is_main():
        TensorStore(Path(config.cache_image_features) / name)  # damaged files are told of and removed once
    dist.barrier()
    store = TensorStore(Path(config.cache_image_features) / name)
    dist.barrier()  # nobody writes before all have looked: what is known and what is computed do not hang on timing
    encoder.features = Features(store, encoder.family)
    known = len(store)
    for key, (vision, expansions) in _missing(data, config.workers):
        if key not in store:
            store.add(key, kept(_with_features(model, tower, vision, encoder), expansions))
    store.flush()
    _wait_for_files(store)
    encoder.features.missing = None
    tower.takes_features = True
    if dist.is_main():
        print(f"image features: {known:,} from {store.folder}, {len(store) - known:,} computed", flush=True)


def folder_name(tower: FrozenTower, encoder: Encoder) -> str:
    """Of the features of one tower, as one processor and tokenizer lay its pictures out."""
    weights = hashlib.sha256()
    for name, tensor in sorted(tower.tower.state_dict().items()):
        weights.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        weights.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy())
    config = {name: value for name, value in tower.tower.config.to_dict().items() if name != "_name_or_path"}
    settings = [
        json.dumps(config, sort_keys=True, default=str),
        str(tower.read_layers),
        encoder.processor.to_json_string(),
        encoder.tokenizer.backend_tokenizer.to_str(),
        type(encoder.family).__name__,
    ]
    precision = str(tower.tower.dtype).removeprefix("torch.")
    read = hashlib.sha256("\0".join(settings).encode()).hexdigest()
    return f"features-{weights.hexdigest()[:16]}-{read[:16]}-{precision}"


class _Unknown(Dataset):
    """For each record the pictures whose features are missing, as pixels by their keys."""

    def __init__(
        self, records: Sequence[Record], encode: Encode, features: Features, skips_bad: bool
    ) -> None:
        self.records, self.encode, self.features, self.skips_bad = records, encode, features, skips_bad

    def __getitem__(self, number: int) -> dict[str, Vision]:
        self.features.missing = {}
        try:
            self.encode([self.records[number]])
        except DataError:
            if not self.skips_bad:
                raise
        return self.features.missing


def _missing(data: Data, num_workers: int) -> Iterator[tuple[str, Vision]]:
    """Pictures of this process's share of all records whose features are missing, by key; and the blank one."""
    features = data.encoder.features
    for records in (data.train, data.held_out):
        share = range(dist.rank(), len(records), dist.world_size())
        unknown = DataLoader(
            _Unknown(records, data.encode, features, data.skips_bad),
            batch_size=None,
            sampler=share,
            num_workers=num_workers,
            worker_init_fn=outlive_signals,
            generator=torch.Generator(),  # the run's own random numbers stay what they are without this
        )
        for found in tqdm(unknown, desc="image features", unit="record", disable=not dist.is_main()):
            progress.mark()
            yield from found.items()
    features.missing = {}
    data.encoder.filler()
    if dist.is_main():
        yield from features.missing.items()


def _with_features(
    model: Policy | ValueModel, tower: FrozenTower, vision: dict[str, torch.Tensor], encoder: Encoder
) -> dict[str, torch.Tensor]:
    family, device = encoder.family, dist.device()
    moved = {
        name: each if name in family.read_as_numbers else each.to(device) for name, each in vision.items()
    }
    features = tower.features_of(moved[PIXELS], lambda: family.ask_tower(model.model, moved))
    return vision | {PIXELS: features.cpu()}


def _wait_for_files(store: TensorStore) -> None:
    """
    Raises:
        DataError: files that other processes have written are not seen here.
    """
    written = set().union(*dist.gather_objects(store.files))

    def are_seen() -> bool:
        store.refresh()
        return written <= store.files

    if not comes_true(are_seen, SEEN_S, LOOK_S):
        raise DataError(
            f"--cache_image_features: process {dist.rank()} does not see in {store.folder} what others have written "
            "there; expected a folder that all nodes share"
        )
