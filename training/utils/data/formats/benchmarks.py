"""The benchmarks of reward models."""

from ..record import DataError, Turn
from .row import Row
from .spelled import Spelled


def read_vl_rewardbench(row: Row) -> Spelled:
    """VL-RewardBench: `human_ranking` holds the rank of each response, 0 for the best."""
    ranks, responses = row.numbers("human_ranking"), row.texts("response")
    if len(ranks) != len(responses):
        raise DataError(
            f"`human_ranking` holds {len(ranks)} ranks for {len(responses)} responses; expected one each"
        )
    ranked = [responses[place] for place in sorted(range(len(ranks)), key=ranks.__getitem__)]
    return Spelled(None, [], [Turn("user", row.text("query"))], ranked)


def read_multimodal_rewardbench(row: Row) -> Spelled:
    """Multimodal RewardBench: `Better` names the better of two outputs."""
    better = row.text("Better")
    order = {"Output1": ("Output1", "Output2"), "Output2": ("Output2", "Output1")}.get(better)
    if order is None:
        raise DataError(f"`Better` is {better[:60]!r}, expected Output1 or Output2")
    return Spelled(None, [], [Turn("user", row.text("Text"))], [row.text(name) for name in order])
