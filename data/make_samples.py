"""Draws the pictures and writes the records of `data/samples`: plain shapes, so that the truth is known.

python -m data.make_samples
"""

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from training.utils.process.command import run_command

FOLDER = Path(__file__).parent / "samples"
COLOURS = ("red", "blue", "green", "yellow", "purple", "black")
SIDE_PX = 64
SHAPES = {
    "circle": lambda draw, box, colour: draw.ellipse(box, fill=colour),
    "square": lambda draw, box, colour: draw.rectangle(box, fill=colour),
    "triangle": lambda draw, box, colour: draw.regular_polygon((*_middle(box), 20), 3, fill=colour),
    "pentagon": lambda draw, box, colour: draw.regular_polygon((*_middle(box), 20), 5, fill=colour),
}
NUM_PICTURES = 32


def _middle(box: tuple[int, int, int, int]) -> tuple[int, int]:
    return (box[0] + box[2]) // 2, (box[1] + box[3]) // 2


def turns(*values) -> list[dict]:
    return [{"from": ("human", "gpt")[i % 2], "value": value} for i, value in enumerate(values)]


def main() -> None:
    rng = random.Random(0)
    (FOLDER / "images").mkdir(parents=True, exist_ok=True)
    records: dict[str, list[dict]] = {name: [] for name in ("sft", "reward", "reward_mse", "ppo", "predict")}
    pictures = []
    for number in range(NUM_PICTURES):
        colour, shape = rng.choice(COLOURS), rng.choice(list(SHAPES))
        picture = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
        SHAPES[shape](ImageDraw.Draw(picture), (12, 12, 52, 52), colour)
        image = f"images/{number:02d}.png"
        picture.save(FOLDER / image)
        pictures.append((image, colour, shape))
        name = {"id": f"shape-{number:02d}", "image": image}
        right = f"A {colour} {shape}."
        other_colour = rng.choice([c for c in COLOURS if c != colour])
        other_shape = rng.choice([s for s in SHAPES if s != shape])
        wrong, wronger = f"A {other_colour} {shape}.", f"A {other_colour} {other_shape}."
        question = "<image>\nWhat is in the picture?"
        follow_up = ("Which colour is it?", f"It is {colour}.")
        records["sft"].append(
            name | {"conversations": turns(question, right, *(follow_up if number % 2 else ()))}
        )
        records["reward"].append(name | {"conversations": turns(question, [right, wrong, wronger])})
        for text, score in ((right, 1.0), (wronger, 0.0)):
            records["reward_mse"].append(name | {"conversations": turns(question, [text]), "score": score})
        records["ppo"].append(name | {"conversations": turns(question, "")})
        records["predict"].append(name | {"conversations": turns(question, right), "label": right})

    first, second = pictures[0], pictures[1]
    records["sft_multi_image"] = [
        {
            "id": "two-shapes",
            "image": [first[0], second[0]],
            "conversations": turns(
                "First <image> and then <image>: what do you see?",
                f"First a {first[1]} {first[2]}, then a {second[1]} {second[2]}.",
            ),
        }
    ]
    records["text_only"] = [
        {"id": "no-picture", "image": None, "conversations": turns("How many sides has a square?", "Four.")},
        {"id": "none-either", "conversations": turns("Name a primary colour.", ["Red.", "Grey."])},
    ]
    for name, entries in records.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(entries, indent=1) + "\n")
    with (FOLDER / "trl_preference.jsonl").open("w") as file:
        for image, colour, shape in pictures[:4]:
            line = {
                "images": [image],
                "prompt": [{"role": "user", "content": "What is in the picture?"}],
                "chosen": [{"role": "assistant", "content": f"A {colour} {shape}."}],
                "rejected": [{"role": "assistant", "content": "A cloud."}],
            }
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    run_command(main)
