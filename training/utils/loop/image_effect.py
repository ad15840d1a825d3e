"""Does what a model says depend on its pictures? Measured once a run: a blind one looks like any other.

The same records go through the model twice, the second time each with the pictures of another record.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ..data.loader import Data, eval_batches
from ..data.record import DataError, Record
from ..data.records import Records
from ..engine.engine import Engine
from ..model.lora import adapters_act
from ..process import dist
from .meter import Meter

logger = logging.getLogger(__name__)

NUM_RECORDS = 32
NIL = 1e-5  # nats of a token, or a reward model's score: rounding moves them by less


def with_others_images(records: Sequence[Record]) -> list[Record]:
    """The records, each with the images of another that has as many: what stays the same does not come from pictures.

    Raises:
        DataError: a record with images has no other to exchange them with.
    """
    by_number: dict[int, list[int]] = {}
    for place, record in enumerate(records):
        by_number.setdefault(len(record.images), []).append(place)
    others = list(records)
    for number, places in by_number.items():
        if number and len(places) < 2:
            raise DataError(
                f"id={records[places[0]].id}: no other record has {number} image(s) to exchange them with"
            )
        half = len(places) // 2  # far enough that records of one picture do not just exchange it
        for place, other in zip(places, places[half:] + places[:half], strict=True):
            others[place] = replace(records[place], images=records[other].images)
    return others


def image_effect_once(meter: Meter, *arguments, **more) -> Callable[[], dict[str, float]]:
    """Gives `image_effect` of these arguments at a run's first evaluation; nothing later, also where it goes on."""
    looked = meter.has_logged("image_effect")

    def look() -> dict[str, float]:
        nonlocal looked
        if looked:
            return {}
        looked = True
        return image_effect(*arguments, **more)

    return look


@torch.no_grad()
def image_effect(
    engine: Engine,
    run_batch: Callable,
    data: Data,
    batch_size: int,
    answered: Callable[[Sequence[Record]], list[Record]] | None = None,
) -> dict[str, float]:
    """`image_effect`: how far an output of the model moves in the mean, in its own unit (nats of a token's
    log-probability, or a score), when records exchange their pictures; nothing where too few have any.

    All processes must call it; each looks at the same few records.

    Args:
        run_batch: the stage's loss of a batch; what the engine's module says meanwhile is compared.
        answered: gives records responses, where they are prompts alone.
    """
    records = of_one_kind(data.held_out)
    if len(records) < 2:  # nobody to exchange pictures with
        records = of_one_kind(data.train)
    if len(records) < 2:
        return {}
    if answered:
        records = answered(records)
    said: list[Tensor] = []

    def hear(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        if adapters_act(module):  # else it is the reference that speaks
            said.append(output.float())

    hook = engine.module.register_forward_hook(hear)
    try:
        with engine.evaluating(), engine.working():
            for view in (records, with_others_images(records)):
                for first in range(0, len(view), batch_size):
                    # One share for all: the same number of passes on every process, as ZeRO-3 needs. Encoded plainly:
                    # nothing is known of these records below other pictures, such as a reference's log-probabilities.
                    share = [
                        record
                        for record in view[first : first + batch_size]
                        for _ in range(dist.world_size())
                    ]
                    batches = eval_batches(share, data.encoder, batch_size, skips_bad=data.skips_bad)
                    for batch, _ in batches:
                        run_batch(batch)
    finally:
        hook.remove()
    half = len(said) // 2
    own, others = torch.cat(said[:half]), torch.cat(said[half:])
    effect = float((own - others).abs().mean())
    if effect < NIL and dist.is_main():
        logger.warning(
            "image_effect %.1e: with the pictures of other records the model says the same, so it does not look at "
            "them; are the pictures in the records, and is the projector trained?",
            effect,
        )
    return {"image_effect": effect}


def of_one_kind(records: Records) -> list[Record]:
    """Some records with pictures, as many in each as most have."""
    with_pictures = np.flatnonzero(records.num_images)
    if not len(with_pictures):
        return []
    ((usual, _),) = Counter(records.num_images[with_pictures].tolist()).most_common(1)
    usable = {}
    for number in map(int, np.flatnonzero(records.num_images == usual)[:NUM_RECORDS]):
        with suppress(DataError):  # its picture is gone since the start; training tells of it
            usable[number] = records[number]
    on_all = set.intersection(*map(set, dist.gather_objects(list(usable))))
    return [record for number, record in usable.items() if number in on_all]
