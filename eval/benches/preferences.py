"""Pair accuracy of a reward model: on ranked responses, on VL-RewardBench and on Multimodal RewardBench.

The responses of a question stand with the best first, as `training.reward_model.score` reads and writes them. A pair
is right if the better response has the higher score; a tie is half right, so that a model that always says the same
gets 50 %. Of a model that compares two side by side, `consistent` is the share of pairs that it is right about in
both orders (position-consistent accuracy).
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from math import isfinite, nan
from pathlib import Path
from statistics import fmean

import numpy as np

from eval.benches.files import files
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, pairs, percent, scores
from eval.uncertainty import Total, share
from training.utils.data.entries import read_entries
from training.utils.data.formats import normalise
from training.utils.data.record import DataError


class Compared(list[float]):
    """Scores of responses that were compared side by side.

    Attributes:
        log_odds: by row and column, how much likelier the verdict was for the row, which is shown first.
    """

    def __init__(self, scores: Sequence[float], log_odds: Sequence[Sequence[float]]) -> None:
        super().__init__(scores)
        self.log_odds = log_odds

    def num_consistent(self, pairs: Iterable[tuple[int, int]]) -> int:
        """Of pairs of a better and a worse response those that it is right about in both orders."""
        return sum(self.log_odds[better][worse] > 0 > self.log_odds[worse][better] for better, worse in pairs)


GROUPS = {  # of VL-RewardBench, by how an id begins
    "mathverse": "reasoning",
    "mmmu": "reasoning",
    "hallucination": "hallucination",
    "rlhf": "hallucination",
    "rlaif": "hallucination",
}


def load(paths: Sequence[Path], group: Callable[[dict], str] = lambda entry: "") -> list[Question]:
    """Questions with ranked responses, from any format of data/README.md; `truth` are their ranks, the best first.

    Args:
        group: what an entry belongs to.
    """
    questions = []
    for file in files(paths, (".json", ".jsonl", ".parquet")):
        for index, entry in enumerate(read_entries(file)):
            try:
                spelled = normalise(entry)
            except DataError as error:
                raise DataError(f"{file}[{index}]: {error}") from None
            if len(spelled.responses) < 2:
                raise DataError(
                    f"{file}[{index}]: {len(spelled.responses)} response(s), expected two or more ranked"
                )
            name = str(spelled.id if spelled.id is not None else index)
            *history, last = spelled.turns
            ranks = ranks_of(len(spelled.responses), spelled.scores)
            asked = (last.text, tuple(spelled.images), ranks, group(entry))
            questions.append(Question(name, *asked, tuple(history), spelled.system))
    return questions


def ranks_of(number: int, scores: Sequence[float] | None) -> tuple[int, ...]:
    """The ranks of responses in the order that they are read and scored in, the best first; tied ones share one."""
    ordered = sorted(scores or range(number), reverse=True)
    return tuple(map(ordered.index, ordered))


def vl_rewardbench_group(entry: dict) -> str:
    name = str(entry["id"]).lower()
    return next((group for start, group in GROUPS.items() if name.startswith(start)), "general")


def multimodal_rewardbench_group(entry: dict) -> str:
    category, name = str(entry["Category"]).lower(), str(entry["ID"]).lower()
    if category == "safety":
        return "safety/bias" if name.startswith("pairs") else "safety/toxicity"
    if category == "reasoning":
        return "reasoning/math" if name.startswith("math") else "reasoning/coding"
    return category


def read(line: dict) -> list[list[float]]:
    """The scores of a line, with what they were made of where its responses were compared side by side.

    Raises:
        DataError: that has not a number for each two of them.
    """
    (given,) = scores(line)
    shown = line.get("log_odds")
    if shown is None:
        return [given]
    rows = [row for of_one in shown for row in scores({"scores": of_one})] if isinstance(shown, list) else []
    if [*map(len, rows)] != [len(given)] * len(given):
        raise DataError(
            f"id {line['id']}: `log_odds` holds no number for each two of {len(given)} responses; was it changed?"
        )
    return [Compared(given, rows)]


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """Accuracy over all pairs that the data do not tie (micro), the mean over groups (macro), and the ties' share."""
    per_item, tied = [], 0
    for question, given in pairs(questions, answers):
        ranks = question.truth
        given = given or [nan] * len(ranks)
        if len(given) != len(ranks):
            raise DataError(
                f"id {question.id}: {len(given)} scores for {len(ranks)} responses; was another file scored?"
            )
        places = [(i, j) for i, j in combinations(range(len(ranks)), 2) if ranks[i] < ranks[j]]
        if not places:
            tied += 1
            continue
        duels = [(given[i], given[j]) for i, j in places]
        per_item.append(
            {
                "id": question.id,
                "group": question.group,
                "scores": list(given),
                "right": sum(better > worse for better, worse in duels),
                "ties": sum(better == worse for better, worse in duels),
                "pairs": len(duels),
            }
            | ({"consistent": given.num_consistent(places)} if isinstance(given, Compared) else {})
        )
    members: dict[str, list[dict]] = {}
    for item in per_item:
        members.setdefault(item["group"], []).append(item)
    groups = {name: figures(items) | {"n": len(items)} for name, items in sorted(members.items())}
    metrics = figures(per_item)
    if len(groups) > 1:
        metrics["macro"] = fmean(group["accuracy"] for group in groups.values())
    metrics["ties"] = percent(sum(item["ties"] for item in per_item), sum(item["pairs"] for item in per_item))
    unread = sum(not all(map(isfinite, item["scores"])) for item in per_item)
    warnings = [f"{unread} of {len(per_item)} have a score that is no finite number: its pairs are wrong"] * (
        unread > 0
    )
    if tied:
        warnings.append(f"{tied} questions whose data have all responses tied: not scored")
    variant = "pairs of a scalar reward model, a tie is half"
    if were_compared(per_item):
        variant = (
            "pairs shown side by side in both orders: accuracy by their mean, consistent where both are right"
        )
    return Scored(metrics, per_item, variant, groups, unread, warnings)


def were_compared(items: Sequence[dict]) -> bool:
    return bool(items) and all("consistent" in item for item in items)


def figures(items: Sequence[dict]) -> dict[str, float]:
    found = {"accuracy": accuracy(items)}
    if were_compared(items):
        found["consistent"] = percent(sum(i["consistent"] for i in items), sum(i["pairs"] for i in items))
    return found


def accuracy(items: Sequence[dict]) -> float:
    return percent(
        sum(item["right"] + item["ties"] / 2 for item in items), sum(item["pairs"] for item in items)
    )


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    right, ties, duels = (np.array([item[name] for item in items]) for name in ("right", "ties", "pairs"))
    points, groups = right + ties / 2, np.array([item["group"] for item in items])
    names = dict.fromkeys(groups)
    of_groups = [share(total, points * (groups == name), duels * (groups == name)) for name in names]
    found = {
        "accuracy": share(total, points, duels),
        "macro": np.mean(of_groups, axis=0),
        "ties": share(total, ties, duels),
    }
    if were_compared(items):
        found["consistent"] = share(total, [item["consistent"] for item in items], duels)
    return found
