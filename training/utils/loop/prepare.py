"""What every stage does before it trains: open the checkpoint's processor, read and check the data."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PretrainedConfig

from ..config.data_config import DataConfig
from ..config.model_config import ModelConfig
from ..config.train_config import TrainConfig
from ..data.check import load_records
from ..data.encode import Encoder
from ..data.entries import paths_of
from ..data.images import open_image
from ..data.loader import Data
from ..data.reader import Reader
from ..data.record import DataError, Record
from ..data.records import Records, draw, split
from ..data.sampler import StepSampler, epoch_len, steps_per_epoch
from ..data.token_batches import TokenBatches
from ..files.model_folder import read_metadata, resolve_checkpoint
from ..model.build_model import get_family
from ..model.image_settings import apply_image_flags
from ..model.read_config import read_config
from ..process import dist


def build_encoder(config: ModelConfig, checkpoint: str | Path) -> Encoder:
    """The encoder of a checkpoint: its processor, family and template.

    With `--template auto` the template is the one that an earlier stage of this project trained with, else
    the checkpoint's chat template. What an earlier stage read as words is read as words again.

    Raises:
        DataError: tokenizer and template, or tokenizer and model, do not go together.
    """
    folder = resolve_checkpoint(checkpoint)
    family = get_family(config.model_architecture, folder, config.trust_remote_code)
    processor = family.load_processor(str(folder), trust_remote_code=config.trust_remote_code)
    trained_here, model_config = read_metadata(folder), read_config(folder, config.trust_remote_code)
    apply_image_flags(processor, family, config, keep_limit=bool(trained_here))
    name = trained_here.get("template", "auto") if config.template == "auto" else config.template
    encoder = Encoder(
        processor,
        family,
        family.template_name(name, model_config, processor),
        config.max_seq_len,
        word_tokens=[*trained_here.get("word_tokens", ()), *config.word_tokens],
        stop_ids=_stop_ids(folder),
        pixel_dtype=config.torch_dtype,
    )
    _check_rows(encoder, model_config, folder)
    family.will_prove(encoder)
    return encoder


def _stop_ids(folder: Path) -> list[int]:
    """Tokens that end an answer of this checkpoint, as its generation config names them."""
    file = folder / "generation_config.json"
    found = json.loads(file.read_text()).get("eos_token_id") if file.is_file() else None
    return found if isinstance(found, list) else [] if found is None else [found]


def _check_rows(encoder: Encoder, config: PretrainedConfig, folder: Path) -> None:
    """Raises DataError where the tokenizer holds tokens that the model has no embedding for.

    An image's own token may lie behind the rows: its embedding comes from the picture.
    """
    rows = getattr(config.get_text_config(), "vocab_size", None)
    ids = encoder.tokenizer.get_vocab()
    of_images = (encoder.image_id, encoder.marker_id)
    beyond = {token: i for token, i in ids.items() if rows and i >= rows and i not in of_images}
    if beyond:
        names = sorted(beyond, key=beyond.__getitem__)
        raise DataError(
            f"{folder}: the tokenizer holds {len(beyond)} token(s) that the model's embedding of {rows} rows has no "
            f"row for ({', '.join(names[:5])}{', ...' if len(names) > 5 else ''}); expected a row for each token; "
            "call model.resize_token_embeddings(len(tokenizer)) and save the model, or take the tokenizer that "
            "belongs to it"
        )


def load_data(
    config: TrainConfig,
    encoder: Encoder,
    min_responses: int,
    max_responses: int | None = None,
    pictured_trees: int = 1,
    **needs: Any,
) -> Data:
    """Training and held-out records, validated and known to fit, and in which order they come.

    Args:
        pictured_trees: trees that the stage makes of a record with pictures.
        needs: what else the stage asks of a record, as `Reader` names it.
    """
    reader = Reader(
        min_responses,
        max_responses,
        image_folder=config.image_folder or None,
        columns=config.renamed_columns,
        **needs,
    )
    by_tokens = config.max_tokens_per_batch > 0
    records = load_checked(config.data_path, reader, config, encoder, exact=by_tokens)
    if config.eval_data_path:
        train, held_out = records, load_checked(config.eval_data_path, reader, config, encoder)
    else:
        train, held_out = split(records, config.data_train_split_ratio, config.seed)
    num_held_out = len(held_out)
    held_out = held_out.select(draw(num_held_out, config.eval_samples or None, config.seed))
    if not train:
        raise DataError(f"{config.data_path}: no records are left to train on")
    if config.data_debug_path:
        write_samples(train[:10], encoder, Path(config.data_debug_path))
    if dist.is_main():
        part = f", {len(held_out):,} of them for evaluations" if len(held_out) < num_held_out else ""
        print(f"{len(train):,} records to train on, {num_held_out:,} held out{part}", flush=True)
    cut = token_batches(config, encoder, train, pictured_trees) if by_tokens else None
    sampler = build_sampler(config, len(train), weighted(config, train), cut)
    return Data(
        train, held_out, sampler, encoder, encoder.encode_all, skips_bad=config.on_bad_record == "skip"
    )


def weighted(config: DataConfig, records: Records) -> list[tuple[np.ndarray, float]]:
    """The record numbers of each path of `--data_path`, and its weight; nothing without `--data_weights`.

    Raises:
        DataError: there are not as many weights as paths, or one is so small that no record is visited.
    """
    if not config.data_weights:
        return []
    num_paths = len(paths_of(config.data_path))
    if num_paths != len(config.data_weights):
        raise DataError(
            f"--data_weights {' '.join(map(str, config.data_weights))}: expected {num_paths}, one for each path of "
            "--data_path"
        )
    sources = records.sources
    numbers = [np.flatnonzero(sources == source) for source in range(num_paths)]
    parts = list(zip(numbers, config.data_weights, strict=True))
    for path, (part, weight) in zip(paths_of(config.data_path), parts, strict=True):
        if not epoch_len(len(part), [(len(part), weight)]):
            raise DataError(
                f"--data_weights {weight:g}: an epoch would visit none of the {len(part):,} records of {path}; raise "
                "the weight, or leave the path out"
            )
    return parts


def write_samples(records: Sequence[Record], encoder: Encoder, folder: Path) -> None:
    """Writes records as the model sees them: the pictures, and prompt and responses as text."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(records):
        name = f"gpu_rank{dist.rank()}_debug{number}"
        for place, image in enumerate(record.images):
            open_image(image).save(folder / f"{name}_image{place}.jpg")
        tree = encoder.encode(record)
        ids = [tree.prompt_ids, *(response.ids for response in tree.responses)]
        texts = [encoder.tokenizer.decode(part) for part in ids]
        (folder / f"{name}_text.txt").write_text("\n---\n".join(texts) + "\n")


def load_checked(
    path: str, reader: Reader, config: DataConfig, encoder: Encoder, exact: bool = False
) -> Records:
    """The records of a path, valid and known to fit into `max_seq_len`; with `exact` their tokens are counted."""
    records = load_records(
        path,
        reader,
        encoder,
        on_bad_record=config.on_bad_record,
        verify_images=config.verify_images,
        samples=config.num_samples,
        seed=config.seed,
        exact=exact,
    )
    encoder.family.will_prove(encoder, records)
    return records


def load_ranked(config: DataConfig, encoder: Encoder, min_responses: int, **needs: Any) -> Records:
    """All records of `--data_path`, with their responses. Arguments as of `load_data`."""
    folder = config.image_folder or None
    reader = Reader(min_responses, image_folder=folder, columns=config.renamed_columns, **needs)
    return load_checked(config.data_path, reader, config, encoder)


def token_batches(config: TrainConfig, encoder: Encoder, train: Records, pictured_trees: int) -> TokenBatches:
    """How `--max_tokens_per_batch` cuts a step."""
    filler_len = len(encoder.filler()) if train.has_images else 0
    row_len = encoder.max_seq_len if config.packing and encoder.family.takes_trees else 0
    cut = TokenBatches.of(train, config.max_tokens_per_batch, filler_len, row_len, pictured_trees)
    if cut.num_longer and dist.is_main():
        print(
            f"{cut.num_longer:,} records are longer than --max_tokens_per_batch {cut.max_tokens:,}, up to "
            f"{int((cut.rows * cut.longest).max()):,} tokens; each gets a micro-batch of its own",
            flush=True,
        )
    return cut


def build_sampler(
    config: TrainConfig,
    num_records: int,
    weighted: Sequence[tuple[Sequence[int], float]] = (),
    by_tokens: TokenBatches | None = None,
) -> StepSampler:
    """The sampler of a run, and with it the number of its steps."""
    per_device, micro_batches = config.per_device_train_batch_size, config.micro_batches
    visited = epoch_len(num_records, [(len(numbers), weight) for numbers, weight in weighted])
    num_steps = config.num_steps(steps_per_epoch(visited, per_device * micro_batches * dist.world_size()))
    return StepSampler(
        num_records,
        per_device,
        micro_batches,
        num_steps,
        config.seed,
        weighted=weighted,
        by_tokens=by_tokens,
    )
