"""Official files and answers that are made by a seed, in the forms of official scorers.

The readings stand beside the answers, written by hand, so that a scorer which wants them read (by a language model)
gets them without one.
"""

import random

YES_NO = (  # an answer that says yes, no or neither, with {} for the word
    "{}",
    "{}.",
    "{}, that is so.",
    "**{}**",
    "Looking at it: {}.",
)
UNCLEAR = ("It can't be told.", "I am not sure", "")
LETTERS = ("{}", "({})", "{}.", "{}. the option", "The answer is {}.", "**{}**")
NO_LETTER = ("the dog", "I do not know", "", "A dog")


def hallusion() -> tuple[list[dict], list[str], list[str]]:
    """200 questions or a few more, answers, and `1` right, `0` wrong, `2` unclear for each."""
    rng = random.Random(0)
    entries, answers, verdicts = [], [], []
    for number in range(20):
        category = "VS" if number % 2 else "VD"
        num_questions = rng.randint(3, 4)
        for figure in range(rng.randint(2, 4)):
            without = category == "VS" and figure == 0
            visual_input = "0" if without else "1" if figure < 2 else "2"
            for question in range(num_questions):
                truth = rng.randint(0, 1)
                verdict = rng.choices("102", (7, 2, 1))[0]
                said = "yes" if (verdict == "1") == bool(truth) else "no"
                style = rng.choice(YES_NO).format(rng.choice((said, said.title(), said.upper())))
                entries.append(
                    {
                        "category": category,
                        "subcategory": ("chart", "illusion")[number % 3 == 0],
                        "visual_input": visual_input,
                        "set_id": str(number),
                        "figure_id": str(figure),
                        "question_id": str(question),
                        "question": f"Is it {number} {figure} {question}?",
                        "gt_answer_details": "It is." if truth else "It is not.",
                        "gt_answer": str(truth),
                        "filename": None if without else f"./{category}/chart/{number}_{figure}.png",
                    }
                )
                answers.append(rng.choice(UNCLEAR) if verdict == "2" else style)
                verdicts.append(verdict)
    return entries, answers, verdicts


def mmvp() -> tuple[list[dict], list[str], list[bool]]:
    """200 rows of `Questions.csv`, answers, and whether each is right."""
    rng = random.Random(1)
    rows, answers, right = [], [], []
    for number in range(1, 201):
        truth = rng.choice("ab")
        rows.append(
            {
                "Index": str(number),
                "Question": "Is it open, or closed?",
                "Options": "(a) Open (b) Closed",
                "Correct Answer": f"({truth})",
            }
        )
        how = rng.choices(("right", "wrong", "none"), (7, 2, 1))[0]
        said = truth if how == "right" else "ba"["ab".index(truth)]
        letter = rng.choice(LETTERS).format(rng.choice((said, said.upper())))
        if letter.startswith(("a.", "The answer is a.", "**a")) or letter == "a":
            letter = f"({said})"
        answers.append(rng.choice(NO_LETTER) if how == "none" else letter)
        right.append(how == "right")
    return rows, answers, right


def crpe() -> tuple[list[dict], list[str]]:
    """200 lines of `crpe_relation.jsonl`, the categories mixed by fours, and answers."""
    rng = random.Random(2)
    entries, answers = [], []
    for number in range(50):
        category = rng.choice(("subject", "predicate", "object"))
        for turn in range(4):
            truth = "ABCD"[(number + turn) % 4]
            entries.append(
                {
                    "question_id": 4 * number + turn,
                    "image": "coco/val2017/000000000042.jpg",
                    "text": "What is on it?\nA. a\nB. b\nC. c\nD. d\nAnswer with the letter.",
                    "category": category,
                    "correct_option": truth,
                }
            )
            said = truth if rng.random() < 0.9 else rng.choice("ABCD")
            answers.append(said if rng.random() < 0.95 else rng.choice((f"{said}.", "dog", "")))
    return entries, answers


def popev2() -> tuple[list[dict], list[str]]:
    """200 rows of `annotations.json`, and answers."""
    rng = random.Random(3)
    rows, answers = [], []
    for number in range(100):
        for folder, label in (("images", "No"), ("coco/train2017", "Yes")):
            rows.append(
                {
                    "image_id": number,
                    "image_name": f"/{folder}/{number:012d}.jpg",
                    "target_object": "cup",
                    "query": "Is there a cup in the image?",
                    "label": label,
                }
            )
            said = label if rng.random() < 0.7 else rng.choice(("Yes", "No"))
            answers.append(rng.choice((said, f"{said}.", f"{said}, there is.", f"{said.lower()}", "Maybe")))
    return rows, answers


def mmrb2() -> tuple[dict[str, list[dict]], dict[str, list[tuple[str, str]]]]:
    """50 pairs of each of two tasks, and the texts in which they were judged, in both orders."""
    rng = random.Random(4)
    tasks, texts = {}, {}
    for task in ("edit", "reasoning"):
        tasks[task] = [
            {
                "id": f"{task}_{number}",
                "prompt_content": [["text", "Draw it."], ["image", f"input_images/{number}.png"]],
                "response_a": {"response_content": [["text", "Here:"], ["image", f"images/{number}_a.png"]]},
                "response_b": {"response_content": [["text", "It is red."]]},
                "chosen": rng.choice("AB"),
            }
            for number in range(50)
        ]
        texts[task] = []
        for pair in tasks[task]:
            other = {"A": "B", "B": "A"}[pair["chosen"]]
            verdicts = []
            for right, wrong in ((pair["chosen"], other), (other, pair["chosen"])):
                verdicts.append(rng.choices((right, wrong, ""), (6, 3, 1))[0])
            texts[task].append(tuple(verdicts))
    return tasks, texts


def judgement(verdict: str) -> str:
    """A reply of a judge with this verdict, as the official instructions want it; without one, no JSON."""
    return f'```json\n{{"score": 5, "better_response": "{verdict}"}}\n```' if verdict else "Both are fine."
