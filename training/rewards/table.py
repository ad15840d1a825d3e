"""The rewards that ship, by the names that `--rewards` knows (rewards_config.py). docs/rewards.md is the table for
people."""

from collections.abc import Callable

from training.rewards import answers, objects, shape
from training.rewards.answers import Score
from training.utils.config.rewards_config import OF_OBJECTS, RewardsConfig
from training.utils.data.record import Record

OfRecord = Callable[[Record], Score]  # what scores the responses to a record; it knows the truth of it

OF_LABELS: dict[str, OfRecord] = {
    "exact": answers.exact,
    "number": answers.number,
    "count": answers.count,
    "choice": answers.choice,
    "boxed": answers.in_box,
    "iou": answers.iou,
}
OF_SHAPE: dict[str, Callable[[RewardsConfig], Score]] = {"format": shape.form, "length": shape.length}
OF_PICTURES: dict[str, objects.Measure] = {
    "chair": objects.chair,
    "recall": objects.recall,
    "amber": objects.amber,
}


def shipped(config: RewardsConfig) -> dict[str, OfRecord]:
    """The shipped ones among the rewards that are asked for. Truth is read once.

    Raises:
        DataError: there is no truth.
    """
    asked = config.shipped
    truth = objects.read_truth(config.truth, config.synonyms) if OF_OBJECTS & {*asked} else None
    return {name: _of(name, config, truth) for name in asked}


def _of(name: str, config: RewardsConfig, truth: objects.Truth | None) -> OfRecord:
    if name in OF_LABELS:
        return OF_LABELS[name]
    if name in OF_SHAPE:
        score = OF_SHAPE[name](config)
        return lambda record: score
    return objects.against(truth, OF_PICTURES[name])
