"""What is to be answered: records of a file, or questions of a benchmark's official files."""

import random
from pathlib import Path

import numpy as np

from eval.benches.coco_names import with_pictures_of
from eval.benches.table import get_bench
from training.utils.config.stage_config import PredictConfig
from training.utils.data.check import checked, require_folder
from training.utils.data.data_paths import folder_of
from training.utils.data.encode import Encoder
from training.utils.data.entries import Entries, Shard, read_entries
from training.utils.data.failures import settle
from training.utils.data.look import Inspector, look
from training.utils.data.reader import Reader
from training.utils.data.record import DataError
from training.utils.data.records import Records, draw
from training.utils.process import dist


def load_prompts(config: PredictConfig, encoder: Encoder, failed: Path) -> Records:
    """The prompts that can be answered. Those that can't, since a picture is bad or a prompt too long, are listed in
    `failed`; of an earlier run none stays there.

    Raises:
        DataError: there are some, and they are not to be skipped or nothing is left.
    """
    entries = dist.first_on_node(lambda: entries_of(config.bench, config.data_path, config.image_folder))
    reader = Reader(image_folder=config.image_folder or None, columns=config.renamed_columns)
    require_folder(reader.image_folder)
    places = part_of(draw(len(entries), config.num_samples, config.seed), config)
    verify_images = "full" if config.verify_images == "auto" else config.verify_images
    verdict = look(entries, places, reader, Inspector(encoder, verify_images), dist.cores())
    settle(verdict.failures, len(places), config.on_bad_record == "skip", failed)
    records = checked(entries, reader, verdict)
    encoder.family.will_prove(encoder, records)
    return records


def part_of(places: np.ndarray, config: PredictConfig) -> np.ndarray:
    """The places that `--part` means, in their order: the parts have no place in common, and together all.

    Raises:
        DataError: there are more parts than places.
    """
    number, of = config.which_part
    if of > len(places):
        raise DataError(f"--part {config.part}: {len(places)} prompts can't be divided into {of} parts")
    order = (
        random.Random(config.seed).sample(range(len(places)), len(places)) if of > 1 else range(len(places))
    )
    return places[sorted(order[number - 1 :: of])]


def entries_of(bench: str, data_path: str, image_folder: str = "") -> Entries:
    """The entries of a file, or the questions of a benchmark's official files.

    Args:
        image_folder: where paths of pictures start; none: the folder of the data.
    """
    if not bench:
        return read_entries(data_path)
    path = Path(data_path)
    folder = folder_of(path)
    pictures = Path(image_folder or folder)
    questions = get_bench(bench).questions([str(path)])
    return Entries([Shard(str(path), [with_pictures_of(q, pictures).entry() for q in questions], folder, 0)])
