"""DASH-B (arXiv 2503.23573), and RePOPE (arXiv 2504.15707), POPE with corrected labels: is an object there?

    TPR = right of those whose truth is yes     TNR = right of those whose truth is no
    harmonic mean = 2 TPR TNR / (TPR + TNR)

Both of the same authors, who read `yes` anywhere in an answer first, then `no`, also inside words. In DASH-B an
answer that is neither is wrong, in RePOPE it counts nowhere. Their rules: `src/eval_utils.py` of
github.com/YanNeu/DASH-B and github.com/YanNeu/RePOPE.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eval.benches import pope
from eval.benches.files import field, files, find_root, read_json
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, percent
from eval.benches.yes_no import read_answers, strict
from eval.uncertainty import Total, share
from training.utils.data.entries import read_entries

TRUTH_OF = {"dash_benchmark_neg.json": "no", "dash_benchmark_pos.json": "yes"}
PROMPT = "Can you see a {} in this image? Please answer only with yes or no."


def load(paths: Sequence[Path]) -> list[Question]:
    """Questions from the folder `images` of the repository, or from the data set of Hugging Face as parquet."""
    questions = []
    for path in paths:
        root = find_root(path, list(TRUTH_OF), ("images",)) if path.is_dir() else path
        if all((root / name).is_file() for name in TRUTH_OF):
            questions += _of_repository(root)
            continue
        for file in files([root], (".parquet",)):
            questions += [_of_row(f"{file}[{i}]", row) for i, row in enumerate(read_entries(file))]
    return questions


def _of_repository(root: Path) -> list[Question]:
    questions = []
    for file, truth in TRUTH_OF.items():
        side = "neg" if truth == "no" else "pos"
        for source, objects in read_json(root / file).items():
            for name, pictures in objects.items():
                for picture in pictures:
                    image = f"{side}/{source}/{name}/{picture}"
                    questions.append(Question(image, PROMPT.format(name), (image,), truth, name))
    return questions


def _of_row(where: str, row: dict) -> Question:
    image = field(row, "image", where)
    content = image["bytes"] if isinstance(image, dict) else image
    name = str(field(row, "question_id", where))
    return Question(
        name, field(row, "question", where), (content,), field(row, "answer", where), row.get("object", "")
    )


def official(text: str) -> str:
    """`yes` anywhere in the text, else `no` anywhere in it, in any case; else unknown."""
    lower = text.lower()
    return "yes" if "yes" in lower else "no" if "no" in lower else "unknown"


PARSERS: dict[str, Callable[[str], str]] = {"official": official, "strict": strict}


def score(questions: Sequence[Question], answers: Answers, parser: str = "official") -> Scored:
    """Accuracy, TPR, TNR and their harmonic mean; an answer that can't be read is wrong."""
    per_item = read_answers(questions, answers, PARSERS[parser], "object")
    rate = {}
    for name, truth in (("TPR", "yes"), ("TNR", "no")):
        asked = [item for item in per_item if item["label"] == truth]
        rate[name] = percent(sum(item["answer"] == truth for item in asked), len(asked))
    both = rate["TPR"] + rate["TNR"]
    metrics = {
        "harmonic_mean": 2 * rate["TPR"] * rate["TNR"] / both if both else 0.0,
        "accuracy": percent(sum(item["answer"] == item["label"] for item in per_item), len(per_item)),
        **rate,
    }
    unread = sum(item["answer"] == "unknown" for item in per_item)
    return Scored(metrics, per_item, f"DASH-B with the {parser} parser", parse_failures=unread)


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample."""
    answer, label = (np.array([item[name] for item in items]) for name in ("answer", "label"))
    right = answer == label
    tpr, tnr = (share(total, right & (label == truth), label == truth) for truth in ("yes", "no"))
    with np.errstate(invalid="ignore"):
        mean = np.where(tpr + tnr == 0, 0, 2 * tpr * tnr / (tpr + tnr))
    accuracy = share(total, right, np.ones(len(items)))
    return {"harmonic_mean": mean, "accuracy": accuracy, "TPR": tpr, "TNR": tnr}


def score_repope(questions: Sequence[Question], answers: Answers, parser: str = "official") -> Scored:
    """POPE's figures on RePOPE, whose labels are in the files. Answers that can't be read count nowhere."""
    read = PARSERS[parser]
    known = {name: [text for text in texts if read(text) != "unknown"] for name, texts in answers.items()}
    unread = sum(map(len, answers.values())) - sum(map(len, known.values()))
    scored = pope.score(questions, {name: [read(text) for text in texts] for name, texts in known.items()})
    texts = {name: iter(given) for name, given in known.items()}
    items = [item | {"response": next(texts[item["id"]])} for item in scored.per_item]
    warnings = [f"{unread} answers say neither yes nor no: they count nowhere"] * bool(unread)
    variant = f"RePOPE with the {parser} parser of its authors; the mean over splits"
    return replace(scored, per_item=items, variant=variant, parse_failures=unread, warnings=warnings)
