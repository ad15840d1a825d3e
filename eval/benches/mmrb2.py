"""Multimodal RewardBench 2 (arXiv 2512.16899): which of two responses, with text and pictures, do people prefer?

The model judges each pair in both orders.

    accuracy     verdicts that are right / verdicts that can be read, as in the official `compute_accuracy.py` of
                 github.com/facebookresearch/MMRB2
    consistent   pairs that are right in both orders / pairs; unread is wrong

The official instructions to a judge (`evaluation_prompts.py` there) are not part of this project. A file `TASK.txt`
beside `TASK.json` is shown before the request, as they are; without one the project's own text asks for a letter.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from string import Template

import numpy as np

from eval.benches.files import field, files, read_json
from eval.benches.question import Question
from eval.benches.scored import Answers, Scored, by_part, num_unread, percent, read_groups, whole_groups
from eval.uncertainty import Total, average, share
from training.utils.answers.letters import letter
from training.utils.data.record import DataError

OWN_PROMPT = Path(__file__).parents[1] / "templates" / "mmrb2.txt"
OFFICIAL_ORDER = (
    "\n[ORIGINAL PROMPT TO MODEL:]\n$request\n[RESPONSE A:]\n$response_a\n[RESPONSE B:]\n$response_b"
)
ORDERS = ("forward", "reverse")
EXCHANGED = {"A": "B", "B": "A"}
VERDICT = re.compile(r"""["']?better_response["']?\s*:\s*["']?([AB])\b""")


def load(paths: Sequence[Path]) -> list[Question]:
    """Two questions of each pair of `reasoning.json`, `interleaved.json`, `edit.json`, `t2i.json`; a pair is a group.

    Raises:
        DataError: a field is missing, or what was chosen is neither A nor B.
    """
    questions = []
    for file in files(paths, (".json",)):
        own = file.with_suffix(".txt")
        template = (
            own.read_text().replace("$", "$$") + OFFICIAL_ORDER if own.is_file() else OWN_PROMPT.read_text()
        )
        pairs = field(read_json(file), "pairs", str(file))
        for index, pair in enumerate(pairs):
            questions += _of_pair(pair, f"{file}[{index}]", file.stem, template)
    return questions


def _of_pair(pair: dict, where: str, task: str, template: str) -> list[Question]:
    if (chosen := field(pair, "chosen", where)) not in EXCHANGED:
        raise DataError(f"{where}: chosen {chosen!r}; expected A or B")
    request = _spelled(field(pair, "prompt_content", where), where)
    a, b = (
        _spelled(field(field(pair, side, where), "response_content", where), where)
        for side in ("response_a", "response_b")
    )
    group = f"{task}/{field(pair, 'id', where)}"
    questions = []
    for order, first, second in ((ORDERS[0], a, b), (ORDERS[1], b, a)):
        shown = (request, first, second)
        text = Template(template).substitute(request=request[0], response_a=first[0], response_b=second[0])
        images = tuple(image for _, pictures in shown for image in pictures)
        truth = chosen if order == ORDERS[0] else EXCHANGED[chosen]
        questions.append(Question(f"{group}/{order}", text, images, truth, group))
    return questions


def _spelled(content: Sequence[Sequence[str]], where: str) -> tuple[str, list[str]]:
    """A text with a marker for each picture, and the pictures."""
    kinds = {kind for kind, _ in content}
    if kinds - {"text", "image"}:
        raise DataError(f"{where}: a part of the kinds {', '.join(sorted(kinds))}; expected text and image")
    text = "\n".join(value if kind == "text" else "<image>" for kind, value in content)
    return text, [value for kind, value in content if kind == "image"]


def read(text: str) -> str:
    """The verdict A or B: `better_response` of the official JSON, else the letter of the answer; empty if none."""
    found = VERDICT.findall(text)
    said = found[-1] if found else letter(text)
    return said if said in EXCHANGED else ""


def score(questions: Sequence[Question], answers: Answers) -> Scored:
    """Both accuracies, of all pairs that were judged in both orders, and of each task."""
    pairs, warnings = whole_groups(questions, answers, "pairs")
    per_item = read_groups(pairs, lambda text, _: read(text), part="task")
    of_task = by_part(per_item, "task")
    groups = {task: figures(items) | {"n": len(items)} for task, items in of_task.items()}
    variant = "each pair judged in both orders; accuracy leaves out what can't be read, consistent does not"
    return Scored(figures(per_item), per_item, variant, groups, num_unread(per_item), warnings)


def figures(items: Sequence[dict]) -> dict[str, float]:
    verdicts = sum(answer != "" for item in items for answer in item["answers"])
    return {
        "accuracy": percent(sum(sum(item["right"]) for item in items), verdicts),
        "consistent": percent(sum(all(item["right"]) for item in items), len(items)),
    }


def rates(items: Sequence[dict], total: Total) -> dict[str, np.ndarray]:
    """The figures in each resample of pairs."""
    verdicts = [sum(answer != "" for answer in item["answers"]) for item in items]
    return {
        "accuracy": share(total, [sum(item["right"]) for item in items], verdicts),
        "consistent": 100 * average(total, [all(item["right"]) for item in items]),
    }
