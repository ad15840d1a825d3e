"""Best-of-n against n: how good the best of n samples is by the reward model, and how far from the policy.

    python -m eval.best_of_n --predictions answers.jsonl --output best_of_n.json

`answers.jsonl` is of eval/predict.py with N samples and a reward model. From N samples the expectation over the best
of n is exact for every n up to N; no sample is drawn again.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb, isfinite, log
from pathlib import Path
from statistics import mean

from training.utils.config.flags import flag
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.picture import drawn
from training.utils.process.command import run_command


@dataclass(frozen=True)
class BestOfNConfig:
    predictions: str = field(metadata={"help": "JSON Lines of eval/predict.py, with several scores a line."})
    output: str = flag(help="JSON file to write; a picture of the same name comes beside it.", writes="file")


def expected_best(scores: Sequence[float], values: Sequence[float], n: int) -> float:
    """Mean value of the response with the highest score, over all sets of n of the N samples of a prompt.

    The k-th lowest of N is the best of a set in C(k - 1, n - 1) of C(N, n) cases (arXiv 2112.09332, appendix I).

    Args:
        scores: what the choice goes by, [N].
        values: what is averaged, [N]: the scores themselves, or another measure of the same responses.
    """
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    num_sets = comb(len(scores), n)
    return sum(comb(k, n - 1) * values[i] for k, i in enumerate(order)) / num_sets


def kl_of_best(n: int) -> float:
    """Upper bound of the KL from the policy to the best of n, nats: log n - (n - 1) / n (arXiv 2009.01325, section
    4.3; arXiv 2401.01879 for when it is reached)."""
    return log(n) - (n - 1) / n


def curve(scores: Sequence[Sequence[float]], values: Sequence[Sequence[float]] | None = None) -> list[dict]:
    """For n = 1, 2, 4, ... up to the fewest samples of a prompt: KL bound in nats, and mean of the best."""
    largest = min(map(len, scores))
    ns = [2**power for power in range(largest.bit_length()) if 2**power < largest] + [largest]
    values = values or scores

    def best(n: int) -> float:
        return mean(expected_best(s, v, n) for s, v in zip(scores, values, strict=True))

    return [{"n": n, "kl": kl_of_best(n), "best": best(n)} for n in ns]


def write_curve(predictions: Path, output: Path) -> list[dict]:
    """The curve of a file of predictions, as JSON and as a picture.

    Raises:
        DataError: the file is not there, or holds no scores, or none that are numbers.
    """
    given = [line["scores"] for line in jsonl.read(predictions) if line.get("scores")]
    if not given:
        raise DataError(
            f"{predictions}: holds no `scores`; expected JSON Lines of eval.predict with a reward model"
        )
    scores = [of_prompt for of_prompt in given if all(map(isfinite, of_prompt))]
    if odd := len(given) - len(scores):
        print(
            f"{predictions}: {odd} of {len(given)} prompts have a score that is no finite number: not in the curve"
        )
    if not scores:
        raise DataError(
            f"{predictions}: each prompt has a score that is no finite number; see the reward model"
        )
    points = curve(scores)
    output.write_text(json.dumps(points, indent=1) + "\n")
    _draw(points, output.with_suffix(".png"))
    return points


def describe(point: dict) -> str:
    return f"best of {point['n']:3}: score {point['best']:.3f}, KL at most {point['kl']:.2f} nats"


def _draw(points: list[dict], picture: Path) -> None:
    with drawn(picture, figsize=(4, 3)) as axis:
        axis.plot([point["kl"] for point in points], [point["best"] for point in points], "o-")
        for point in points:
            place = point["kl"], point["best"]
            axis.annotate(f"n = {point['n']}", place, (4, -10), textcoords="offset points", fontsize=8)
        axis.set_xlabel("KL to the policy, nats (upper bound)")
        axis.set_ylabel("score of the best")
        axis.grid(alpha=0.3)


def main(config: BestOfNConfig) -> None:
    for point in write_curve(Path(config.predictions), Path(config.output)):
        print(describe(point))


if __name__ == "__main__":
    run_command(main, BestOfNConfig)
