"""How often one model's answers are preferred to another's: by a judge that reads both, or by a reward model.

A judge prefers what it sees first, more or less. So it sees each pair twice, in both orders, and an answer wins with
the mean of the two verdicts (win 1, tie 0.5, loss 0). Exchanging the models gives 100 - win_rate.
"""

import re
from collections.abc import Callable, Sequence
from itertools import product
from statistics import mean
from string import Template

import numpy as np

from eval.benches.question import Question
from eval.benches.scored import Scored, match, prompt_of, responses
from eval.uncertainty import Total, share
from training.utils.chat.client import Ask, replies
from training.utils.chat.messages import Messages, Shown, concluded, nothing, spoken, told
from training.utils.data.record import DataError

VARIANT = "each pair judged in both orders"
POINTS = {"A": 1.0, "B": 0.0, "C": 0.5}  # for the answer that is shown first


def to_messages(
    question: str,
    first: str,
    second: str,
    template: str,
    context: str = "",
    pictures: Sequence[dict] = (),
) -> Messages:
    """Fills `$question`, `$answer_a`, `$answer_b` and `$context` (what is known of the picture) of the prompt."""
    if not {"question", "answer_a", "answer_b"} <= set(Template(template).get_identifiers()):
        raise DataError(
            "--judge_prompt: expected $question, $answer_a and $answer_b in it; may hold $context"
        )
    text = Template(template).safe_substitute(
        question=spoken(question), answer_a=first, answer_b=second, context=context or "nothing"
    )
    return told(text, pictures)


def parse(reply: str) -> float | None:
    """Points of the first answer by the verdict [[A]], [[B]] or [[C]]; none if there is none or there are two."""
    found = set(re.findall(r"\[\[([ABC])\]\]", concluded(reply)))
    return POINTS[found.pop()] if len(found) == 1 else None


def score(
    predictions: Sequence[dict],
    baseline: Sequence[dict],
    template: str,
    ask: Ask,
    contexts: dict[str, str] | None = None,
    shown: Shown = nothing,
) -> Scored:
    """Rates in percent: `win_rate` counts ties as half; `first_shown` is 50 where the order does not matter.

    Args:
        predictions: `id`, `prompt` and `response` or `responses` of the model that wins or loses.
        baseline: the same of the other model; its k-th response to a prompt meets the k-th of `predictions`.
        contexts: what a judge that sees no pictures is told of each id's.
    """
    pairs, prompts, warnings = paired(predictions, baseline)
    met: list[tuple[str, str, str]] = []
    asked: list[Messages] = []
    for name, (ours, theirs) in pairs.items():
        if len(ours) != len(theirs):
            raise DataError(f"{name}: {len(ours)} responses against {len(theirs)}; expected as many")
        known, pictures = (contexts or {}).get(name, ""), shown(name)
        for ours_text, theirs_text in zip(ours, theirs, strict=True):
            met.append((name, ours_text, theirs_text))
            for both in ((ours_text, theirs_text), (theirs_text, ours_text)):
                asked.append(to_messages(prompts[name], *both, template, known, pictures))
    said = replies(ask, asked)
    per_item = []
    for (name, ours_text, theirs_text), both in zip(
        met, zip(said[::2], said[1::2], strict=True), strict=True
    ):
        item = {"id": name, "response": ours_text, "baseline": theirs_text}
        item |= {
            "replies": [reply.text for reply in both],
            "first_shown": [parse(reply.text) for reply in both],
        }
        failures = "; ".join(dict.fromkeys(reply.failure for reply in both if reply.failure))
        per_item.append(item | ({"failure": failures} if failures else {}))
    judged = [item for item in per_item if None not in item["first_shown"]]
    for item in judged:
        ours_first, theirs_first = item["first_shown"]
        item["points"] = (ours_first + 1 - theirs_first) / 2
    failures = sum(verdict is None for item in per_item for verdict in item["first_shown"])
    if failures:
        dropped = len(per_item) - len(judged)
        warnings.append(
            f"{failures} of {2 * len(per_item)} replies hold no one verdict: {dropped} pairs dropped"
        )
    metrics = rates([item["points"] for item in judged])
    if judged:
        metrics["first_shown"] = 100 * mean(mean(item["first_shown"]) for item in judged)
        metrics["consistent"] = 100 * mean(sum(item["first_shown"]) == 1 for item in judged)
    return Scored(metrics, per_item, VARIANT, parse_failures=failures, warnings=warnings)


def score_rewards(predictions: Sequence[dict], baseline: Sequence[dict]) -> Scored:
    """The same by a reward model's `scores` of each id: the share of all pairs of responses that are won."""
    for line in (*predictions, *baseline):
        if not line.get("scores"):
            raise DataError(f"{line['id']}: no scores; expected the lines of training/reward_model/score.py")
    pairs, _, warnings = paired(predictions, baseline, lambda line: line["scores"])
    per_item = []
    for name, (ours, theirs) in pairs.items():
        points = mean((a > b) + 0.5 * (a == b) for a, b in product(ours, theirs))
        per_item.append({"id": name, "scores": ours, "baseline_scores": theirs, "points": points})
    variant = "share of pairs of answers with the higher score of a reward model"
    return Scored(rates([item["points"] for item in per_item]), per_item, variant, warnings=warnings)


def paired(
    predictions: Sequence[dict], baseline: Sequence[dict], read: Callable[[dict], list] = responses
) -> tuple[dict[str, tuple[list, list]], dict[str, str], list[str]]:
    """Responses of both models to each prompt that both answered, the prompts, and what is told of the others."""
    lines = dict.fromkeys(str(line["id"]) for line in (*predictions, *baseline))
    asked = [Question(name, "", (), truth=None) for name in lines]  # the prompts are compared below
    ours, warnings = match(asked, predictions, read)
    theirs, of_baseline = match(asked, baseline, read)
    warnings += [f"baseline: {warning}" for warning in of_baseline]
    prompts = {str(line["id"]): prompt_of(line) for line in reversed(predictions)}
    for line in baseline:
        prompt = prompt_of(line)
        if spoken(prompt) != spoken(prompts.get(str(line["id"]), prompt)):
            raise DataError(
                f"{line['id']}: the two models answered different prompts; expected the same file"
            )
    return (
        {name: (ours[name], theirs[name]) for name in lines if name in ours and name in theirs},
        prompts,
        warnings,
    )


def rates(points: Sequence[float]) -> dict[str, float]:
    if not points:
        return {}
    return {
        "win_rate": 100 * mean(points),
        "wins": 100 * mean(p > 0.5 for p in points),
        "ties": 100 * mean(p == 0.5 for p in points),
        "losses": 100 * mean(p < 0.5 for p in points),
    }


def rates_of_resamples(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    judged = np.array(["points" in item for item in items])
    points = np.array([item.get("points", np.nan) for item in items])
    found = {
        "win_rate": share(total, np.nan_to_num(points), judged),
        "wins": share(total, points > 0.5, judged),
        "ties": share(total, points == 0.5, judged),
        "losses": share(total, points < 0.5, judged),
    }
    return found
