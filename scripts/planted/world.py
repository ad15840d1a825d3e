"""A small world for runs of seconds: one shape of one colour in a picture, and records about it."""

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw

from data.make_samples import COLOURS, SHAPES, turns

SIDE_PX = 64
QUESTION = "<image>\nWhat is in the picture?"
ENDINGS = (".", ".", "!", " on white.", " on white!")  # so that samples of a prompt differ


def write_world(folder: Path, seed: int, num_pictures: int = 192) -> None:
    """Pictures, and the records of each stage, with the faults that lie in the data."""
    rng = random.Random(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    records: dict[str, list[dict]] = {}
    labels = []

    def add(name: str, head: dict, *values, **more) -> None:
        records.setdefault(name, []).append(head | {"conversations": turns(*values)} | more)

    for number in range(num_pictures):
        colour, shape = rng.choice(COLOURS), rng.choice(list(SHAPES))
        left, top = rng.randrange(4, 20), rng.randrange(4, 20)
        picture = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
        SHAPES[shape](ImageDraw.Draw(picture), (left, top, left + 40, top + 40), colour)
        image = f"images/{number:03d}.png"
        picture.save(folder / image)
        head = {"id": f"shape-{number:03d}", "image": image}
        other = rng.choice([name for name in COLOURS if name != colour])
        end = rng.choice(ENDINGS)
        right, wrong = f"A {colour} {shape}{end}", f"A {other} {shape}{end}"
        words = {"id": head["id"]}
        add("sft", head, QUESTION, right)
        add("without_pictures", words, QUESTION.removeprefix("<image>\n"), right)
        add("pairs", head, QUESTION, [right, wrong])
        add("swapped", head, QUESTION, [wrong, right])
        add("marked", head, QUESTION, [f"Sure! A {rng.choice((colour, other))} {shape}.", wrong])
        add("prompts", head, QUESTION, "", label=f"{colour} {shape}")
        labels.append(f"{colour} {shape}")
    rng.shuffle(labels)
    for entry, label in zip(records["prompts"], labels, strict=True):
        records.setdefault("wrong_labels", []).append(entry | {"label": label})
    for name, entries in records.items():
        (folder / f"{name}.json").write_text(json.dumps(entries, indent=1) + "\n")
