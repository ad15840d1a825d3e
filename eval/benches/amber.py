"""Hallucination in free descriptions, by AMBER's definitions (arXiv 2311.07397) and CHAIR's (arXiv 1809.02156).

With M_i the mentions of objects in answer i and G_i the objects that are there:

    CHAIR_i = sum |{m in M_i : m not in G_i}| / sum |M_i|      share of mentions that are invented
    CHAIR_s = Hal = share of answers with an invented object
    Cover   = sum |G_i and M_i| / sum |G_i|                    share of objects that are named
"""

from collections.abc import Callable, Sequence

from eval.benches.scored import Scored, responses_by_id


def score(truth: Sequence[dict], predictions: Sequence[dict], mentions: Callable[[str], list[str]]) -> Scored:
    """Rates in percent over all answers, and the mean length of an answer in words.

    Args:
        truth: `id` and `objects` of each picture.
        predictions: `id` with `response` or `responses`.
        mentions: the objects that a text names, with repetitions.
    """
    objects = {scene["id"]: set(scene["objects"]) for scene in truth}
    responses, warnings = responses_by_id(predictions, list(objects))
    per_item = []
    for name, texts in responses.items():
        for text in texts:
            named = mentions(text)
            invented = [word for word in named if word not in objects[name]]
            per_item.append(
                {
                    "id": name,
                    "response": text,
                    "mentions": len(named),
                    "invented": invented,
                    "covered": sorted(objects[name] & set(named)),
                    "num_objects": len(objects[name]),
                    "words": len(text.split()),
                }
            )
    n = len(per_item)
    hal = _percent(sum(bool(item["invented"]) for item in per_item), n)
    metrics = {
        "CHAIR_i": _percent(sum(len(i["invented"]) for i in per_item), sum(i["mentions"] for i in per_item)),
        "CHAIR_s": hal,
        "Hal": hal,
        "Cover": _percent(sum(len(i["covered"]) for i in per_item), sum(i["num_objects"] for i in per_item)),
        "words": sum(item["words"] for item in per_item) / max(n, 1),
    }
    return Scored(metrics, n, per_item, warnings)


def _percent(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0
