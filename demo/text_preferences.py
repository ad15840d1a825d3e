"""Textual preferences for the demo world, and captions that can stand for its pictures.

    python -m demo.text_preferences --truth models/demo/world/truth_train.json --output models/demo/rovrm

`text.json` is what a general preference set would be: some records ask what is in a list, the task of the pictures
in other words; the rest is about arithmetic, politeness or brevity, or is ranked the wrong way round. The kind ends
the id. `captions.json` maps each picture to a caption; some belong to another picture. Both know only the scenes of
the truth file.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from demo.words import caption, edited, with_article
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.process.command import run_command

LISTS = (
    "Objects: {}. Name them.",
    "I see {}. What is it?",
    "In the box: {}. List all.",
    "There is {}. Say so.",
)
PICTURES = ("In this image there is {}.", "The image: {}.", "{} in the image.")


@dataclass(frozen=True)
class TextConfig:
    truth: str = field(metadata={"help": "truth_train.json of the world."})
    output: str = flag(help="Folder to write into.", writes="folder")
    num_records: int = field(default=4000, metadata={"help": "Textual preferences."})
    share_on_topic: float = field(default=0.4, metadata={"help": "Share that asks what is in a list."})
    share_flipped: float = field(default=0.2, metadata={"help": "Share that asks so, ranked wrongly."})
    share_wrong_captions: float = field(default=0.2, metadata={"help": "Captions of another picture."})
    seed: int = field(default=0, metadata={"help": "Seed of everything that is drawn."})


def listed(objects: Sequence[str], rng: random.Random) -> str:
    """The objects in words, not worded as a caption: `one cat, one dog`, `a cat and then a dog`, `cat + dog`."""
    style = rng.randrange(3)
    if style == 0:
        return ", ".join(f"one {name}" for name in objects)
    return (" and then ", " + ")[style - 1].join(map(with_article, objects) if style == 1 else objects)


def about_objects(objects: Sequence[str], names: Sequence[str], rng: random.Random) -> tuple[str, str, str]:
    """Prompt, true answer, and the same with an object swapped, invented or left out.

    Left out and invented are equally likely where both are possible, so counting does not tell them.
    """
    new = rng.choice([name for name in names if name not in objects])
    old = rng.choice(objects)
    kinds = [(old, new)] * 2 + [("", new)] + ([(old, "")] if len(objects) > 1 else [])
    true = dict.fromkeys(objects, 1)
    wrong = edited(true, *rng.choice(kinds), 1, rng.randint(0, len(objects)))
    return rng.choice(LISTS).format(listed(objects, rng)), caption(true), caption(wrong)


def arithmetic(names: Sequence[str], rng: random.Random) -> tuple[str, str, str]:
    a, b = rng.randint(1, 20), rng.randint(1, 20)
    return f"{a} + {b} = ?", f"{a + b}", f"{a + b + rng.choice([-2, -1, 1, 2])}"


def politeness(names: Sequence[str], rng: random.Random) -> tuple[str, str, str]:
    name = rng.choice(names)
    return f"Give me the {name}.", f"Yes, here is the {name}.", rng.choice(["No.", f"No {name} for you."])


def brevity(names: Sequence[str], rng: random.Random) -> tuple[str, str, str]:
    name = rng.choice(names)
    return f"Be short. Say {name}.", f"{name}.", f"{name}, {name}, {name} and {name}."


OFF_TOPIC = {"arithmetic": arithmetic, "politeness": politeness, "brevity": brevity}


def preference(name: str, prompt: str, chosen: str, rejected: str) -> dict:
    human, gpt = {"from": "human", "value": prompt}, {"from": "gpt", "value": [chosen, rejected]}
    return {"id": name, "conversations": [human, gpt]}


def text_preferences(config: TextConfig, truth: dict, rng: random.Random) -> list[dict]:
    names, scenes = truth["objects"], truth["scenes"]
    records = []
    for number in range(config.num_records):
        chance = rng.random()
        if chance < config.share_on_topic + config.share_flipped:
            prompt, chosen, rejected = about_objects(rng.choice(scenes)["objects"], names, rng)
            kind = "objects" if chance < config.share_on_topic else "flipped"
            if kind == "flipped":
                chosen, rejected = rejected, chosen
        else:
            kind = rng.choice(list(OFF_TOPIC))
            prompt, chosen, rejected = OFF_TOPIC[kind](names, rng)
        records.append(preference(f"text-{number:05d}-{kind}", prompt, chosen, rejected))
    return records


def captions(config: TextConfig, truth: dict, rng: random.Random) -> dict[str, str]:
    """From a picture to its caption, worded differently from the answers; some are of another picture."""
    scenes = truth["scenes"]
    said = {}
    for scene in scenes:
        shown = rng.choice(scenes) if rng.random() < config.share_wrong_captions else scene
        said[scene["image"]] = rng.choice(PICTURES).format(
            caption(dict.fromkeys(shown["objects"], 1)).rstrip(".")
        )
    return said


def main(config: TextConfig) -> None:
    truth = read_json(Path(config.truth), "objects", "scenes")
    folder = Path(config.output)
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in (("text.json", text_preferences), ("captions.json", captions)):
        content = make(config, truth, random.Random(f"{config.seed} {name}"))
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")
        print(f"{folder / name}: {len(content)} records")


if __name__ == "__main__":
    run_command(main, TextConfig)
