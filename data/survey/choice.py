"""Which records a person should see: the odd ones, and some at random."""

import random
from collections.abc import Callable, Sequence

from data.survey.measure import Measures

SHOWN = 20


def choose(found: Sequence[Measures], seed: int) -> list[tuple[Measures, str]]:
    """Up to `SHOWN` records that are used, and why each was picked."""
    usable = [each for each in found if not each.refusal]
    reasons: dict[int, list[str]] = {}
    by_place = {each.place: each for each in usable}

    def pick(number: int, why: str, key: Callable[[Measures], float], among: Sequence[Measures]) -> None:
        for each in sorted(among, key=key)[:number]:
            reasons.setdefault(each.place, []).append(why)

    pictured = [each for each in usable if each.sizes]
    pick(2, "among the shortest", lambda each: each.need, usable)
    pick(3, "among the longest", lambda each: -each.need, usable)
    pick(3, "its answers are cut", lambda each: -each.responses_cut, [e for e in usable if e.responses_cut])
    pick(2, "its oldest turns are dropped", lambda each: each.need, [e for e in usable if e.turns_dropped])
    if pictured and len(pictured) < len(usable):
        pick(2, "text only", lambda each: each.place, [each for each in usable if not each.sizes])
    if len({len(each.sizes) for each in pictured}) > 1:
        pick(2, "among those with most pictures", lambda each: -len(each.sizes), pictured)
    pick(1, "its pictures are scaled down", lambda each: -each.scaled, [e for e in usable if e.scaled])
    others = [each for each in usable if each.place not in reasons]
    for each in random.Random(seed).sample(others, max(0, min(len(others), SHOWN - len(reasons)))):
        reasons[each.place] = [f"at random, by seed {seed}"]
    return [(by_place[place], ", ".join(why)) for place, why in list(reasons.items())[:SHOWN]]
