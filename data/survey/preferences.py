"""What ranked answers give away: length, first words, ties. A model may learn these instead of what is meant."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean

import numpy as np

from data.survey.measure import Measures
from data.survey.table import Part, Table, share, wilson

TELLING = 0.6  # share of pairs from which on a feature is worth a warning, if the interval agrees
FEWEST = 20  # pairs that a first word is judged by
NUM_WORDS = 8  # first words that are listed


def preferences(found: Sequence[Measures], where: Sequence[str]) -> Part:
    """Of the best and the worst answer to each prompt, where the scores do not tie them."""
    ranked = [(each, at) for each, at in zip(found, where, strict=True) if len(each.response_lens) > 1]
    if not ranked:
        return Part()
    pairs = [each for each, _ in ranked if not each.scores or each.scores[0] > each.scores[-1]]
    scored = [each for each, _ in ranked if each.scores]
    ties = sum(len(set(each.scores)) < len(each.scores) for each in scored)
    equal = [at for each, at in ranked if len(set(each.answers)) < len(each.answers)]
    table, warnings = _length(pairs)
    rows = [
        ("prompts with several answers", f"{len(ranked):,}", ""),
        ("of these with two answers that differ in case and punctuation alone", f"{len(equal):,}",
         share(len(equal), len(ranked))),
        ("with scores, and two equal ones among them", f"{ties:,} of {len(scored):,}", share(ties, len(scored))),
    ]  # fmt: skip
    if equal:
        warnings.append(
            f"{share(len(equal), len(ranked))} of the prompts have two answers with the same words, as {equal[0]}: "
            "nothing but case and punctuation ranks them."
        )
    words, telling = _first_words(pairs)
    return Part([Table("Ranked answers", ("", "number", "share"), rows), *table, *words], warnings + telling)


def _length(pairs: Sequence[Measures]) -> tuple[list[Table], list[str]]:
    longer_by = np.array([each.response_lens[0] - each.response_lens[-1] for each in pairs])
    differ = longer_by[longer_by != 0]
    if not len(differ):
        return [], []
    longer = int((differ > 0).sum())
    low, high = wilson(longer, len(differ))
    error = 1.96 * float(longer_by.std(ddof=1)) / len(pairs) ** 0.5 if len(pairs) > 1 else float("inf")
    chosen, rejected = (mean(each.response_lens[place] for each in pairs) for place in (0, -1))
    rows = [
        ("tokens of the best answer, mean", f"{chosen:.1f}", ""),
        ("tokens of the worst answer, mean", f"{rejected:.1f}", ""),
        ("tokens that the best is longer by, mean", f"{longer_by.mean():+.1f}", f"± {error:.1f}"),
        ("pairs in which the best is the longer one, of those that differ", f"{100 * longer / len(differ):.1f} %",
         f"{100 * low:.1f} to {100 * high:.1f} %"),
        ("pairs of one length", f"{len(pairs) - len(differ):,}", ""),
    ]  # fmt: skip
    warnings = []
    for kind, part, bound in (("longer", longer, low), ("shorter", len(differ) - longer, 1 - high)):
        if part >= TELLING * len(differ) and bound > 0.5:
            warnings.append(
                f"In {100 * part / len(differ):.0f} % of the pairs the {kind} answer is the chosen one: a reward "
                "model can learn length instead of truth."
            )
    return [Table(f"Length of {len(pairs):,} pairs, best and worst", ("", "", "95 %"), rows)], warnings


def _first_words(pairs: Sequence[Measures]) -> tuple[list[Table], list[str]]:
    """Words that one answer of a pair begins with and the other does not: how often it is the chosen one."""
    best, worst = Counter(), Counter()
    for each in pairs:
        if each.first_words[0] != each.first_words[-1]:
            best[each.first_words[0]] += 1
            worst[each.first_words[-1]] += 1
    told = []
    for word in {*best, *worst} - {""}:
        total = best[word] + worst[word]
        low, high = wilson(best[word], total)
        if total >= FEWEST and (low > 0.5 or high < 0.5):
            told.append((word, best[word], total, low, high))
    told.sort(key=lambda one: (-abs(one[1] / one[2] - 0.5) * one[2] ** 0.5, one[0]))
    rows = [
        (word, f"{total:,}", f"{100 * chosen / total:.0f} %", f"{100 * low:.0f} to {100 * high:.0f} %")
        for word, chosen, total, low, high in told[:NUM_WORDS]
    ]
    warnings = [
        f"Where one answer of a pair begins with `{word[:40]}` and the other does not, it is the "
        f"{'chosen' if 2 * chosen > total else 'rejected'} one in {100 * max(chosen, total - chosen) / total:.0f} % "
        f"of {total:,} pairs: the first word gives the rank away."
        for word, chosen, total, low, high in told[:3]
        if (low > TELLING or high < 1 - TELLING) and total > 0.05 * len(pairs)
    ]
    columns = ("begins with", "pairs", "it is the chosen one", "95 %")
    return ([Table("First words that tell", columns, rows)] if rows else []), warnings
