"""Several reward models as one: what one of them mistakes, the others may not (arXiv 2310.02743, 2312.09244).

Each member's scores are taken less their mean, over their standard deviation, as they were measured and kept in its
folder: reward models differ in where their scores lie and how far they spread, for nothing in their loss fixes it.

Notation: M members, R responses.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from training.rewards.reward import Explained, Rewards, scores_in
from training.utils.config.aspects import weights_of
from training.utils.config.ensemble_config import ENSEMBLE
from training.utils.data.batch import Batch
from training.utils.data.record import DataError
from training.utils.data.tree import Tree
from training.utils.files.model_folder import SCALE_FILE, resolve_checkpoint
from training.utils.files.whole import write_whole
from training.utils.process import dist

CURE = (
    "measure each on the same answers: python -m training.reward_model.score --from_checkpoint FOLDER --data_path "
    "ANSWERS --output_path FILE --keep_scale"
)
# By the names of `--reward_ensemble`: what becomes of the members' scores [M, R], given how many deviations count.
COMBINED: dict[str, Callable[[Tensor, float], Tensor]] = {
    "mean": lambda scores, deviations: scores.mean(0),
    "min": lambda scores, deviations: scores.amin(0),
    "mean_std": lambda scores, deviations: scores.mean(0) - deviations * disagreement(scores),
}


def disagreement(scores: Tensor) -> Tensor:
    """Standard deviation of the members' scores [M, R], which are all that there are, [R]."""
    return scores.std(0, correction=0)


@dataclass(frozen=True)
class Scale:
    """Where the scores of a reward model lie."""

    mean: float = 0.0
    std: float = 1.0
    answers: int = 0  # that it was measured on
    aspect_weights: tuple[str, ...] = ()  # as they counted then

    @classmethod
    def of(cls, scores: Sequence[float], aspect_weights: Sequence[str] = ()) -> "Scale":
        """
        Raises:
            DataError: the scores tell nothing apart.
        """
        values = torch.tensor(scores, dtype=torch.float64)
        if len(values) < 2 or not values.std() > 0:
            raise DataError(
                f"--keep_scale: {len(values)} answers with one score; expected several that differ, as the policy's "
                "own are"
            )
        return cls(values.mean().item(), values.std().item(), len(values), tuple(aspect_weights))

    @classmethod
    def read(cls, checkpoint: str | Path) -> "Scale | None":
        """That of a reward model's folder; none where none was kept."""
        file = resolve_checkpoint(checkpoint) / SCALE_FILE
        if not file.is_file():
            return None
        known = json.loads(file.read_text())
        return cls(**known | {"aspect_weights": tuple(known["aspect_weights"])})

    def keep(self, checkpoint: str | Path) -> Path:
        """Writes it into a reward model's folder."""
        file = resolve_checkpoint(checkpoint) / SCALE_FILE
        write_whole(file, json.dumps(asdict(self), indent=2) + "\n")
        return file


def scales_of(checkpoints: Sequence[str], aspect_weights: Sequence[str] = ()) -> list[Scale]:
    """What each member's scores are measured by.

    Raises:
        DataError: some have a scale and some have none, so that their scores could not be compared; or one was
            measured with other weights of its aspects.
    """
    found = {path: Scale.read(path) for path in checkpoints}
    without = [path for path, scale in found.items() if scale is None]
    if 0 < len(without) < len(found):
        raise DataError(
            f"--reward_ensemble: {' '.join(without)} has no {SCALE_FILE}, and others have; {CURE}"
        )
    for path, scale in found.items():
        if scale and weights_of(scale.aspect_weights) != weights_of(aspect_weights):
            raise DataError(
                f"--aspect_weights {' '.join(aspect_weights)}: {path} was measured with "
                f"{' '.join(scale.aspect_weights) or 'none'}; {CURE}, with the same weights"
            )
    return [scale or Scale() for scale in found.values()]


def tell_without_scales(checkpoints: Sequence[str]) -> None:
    if dist.is_main() and not any(map(Scale.read, checkpoints)):
        print(
            f"--reward_ensemble: no member has a {SCALE_FILE}: scores are compared as they are, which is right "
            f"for reward models that were trained alike; else {CURE}",
            flush=True,
        )


@dataclass(frozen=True)
class Ensemble:
    """The score of several reward models together. Their own scores, as they give them, and the disagreement about
    each response are kept beside it."""

    members: dict[str, Rewards]  # each gives its score under its own name
    scales: Sequence[Scale]
    kind: str
    deviations: float = 1.0

    def __call__(self, trees: Sequence[Tree], batch: Batch) -> dict[str, Tensor | Explained]:
        parts = {name: member(trees, batch) for name, member in self.members.items()}
        pairs = zip(parts.items(), self.scales, strict=True)
        alike = torch.stack(
            [(scores_in(of[name]).float() - scale.mean) / scale.std for (name, of), scale in pairs]
        )
        together = COMBINED[self.kind](alike, self.deviations)
        return {ENSEMBLE: together, f"{ENSEMBLE}_std": disagreement(alike)} | {
            name: part for of in parts.values() for name, part in of.items()
        }
