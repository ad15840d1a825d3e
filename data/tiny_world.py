"""A tiny world for the recipes: pictures of plain shapes, in the forms that the recipes' published data have.

    python -m data.tiny_world --output models/recipes/world

| file | form of |
|---|---|
| `sft.json`, `prompts.json` | LLaVA-Instruct |
| `instances_val2014.json`, `synonyms.txt`, `images/COCO_val2014_*` | COCO and CHAIR |
| `count.jsonl`, `count_test.jsonl` | R1-V |
| `human_preferences.json`, `captions.json` | LLaVA-RLHF; RoVRM |
| `pairs.json`, `text_pairs.json` | RLHF-V, UltraFeedback: ranked answers, with pictures and without |
| `vl_rewardbench.jsonl` | VL-RewardBench |
| `revised.json` | OPA-DPO: answers and what a corrector made of them, to imitate |
"""

import json
import random
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from data.make_samples import COLOURS, SHAPES, turns
from training.utils.config.flags import flag
from training.utils.process.command import run_command

ASKED = "Please describe this image in detail."  # as CHAIR asks
COUNTED = "How many shapes are there in the picture?"
SIDE_PX, CELLS = 128, ((0, 0), (64, 0), (0, 64), (64, 64))


@dataclass(frozen=True)
class TinyWorldConfig:
    output: str = flag(help="Folder to write into.", writes="folder")
    num_pictures: int = flag(48, "Pictures.")
    seed: int = flag(0, "Seed of everything that is drawn.")


@dataclass(frozen=True)
class Scene:
    number: int
    shapes: tuple[str, ...]  # their names, some of them the same

    @property
    def image(self) -> str:
        return f"images/COCO_val2014_{self.number:012d}.png"

    @property
    def there(self) -> list[str]:
        return sorted({*self.shapes})

    def draw(self, rng: random.Random) -> Image.Image:
        picture = Image.new("RGB", (SIDE_PX, SIDE_PX), "white")
        for shape, (left, top) in zip(self.shapes, rng.sample(CELLS, len(self.shapes)), strict=True):
            box = (left + 12, top + 12, left + 52, top + 52)
            SHAPES[shape](ImageDraw.Draw(picture), box, rng.choice(COLOURS))
        return picture


def described(names: list[str]) -> str:
    return f"There is a {' and a '.join(names)}."


def with_one_invented(scene: Scene, rng: random.Random) -> str:
    """The description with one shape put in the place of another, that is not there."""
    absent = [name for name in SHAPES if name not in scene.shapes]
    names = scene.there
    names[rng.randrange(len(names))] = rng.choice(absent) if absent else "star"
    return described(names)


def records_of(scene: Scene, rng: random.Random) -> dict[str, list[dict]]:
    """What each file has of a scene."""
    named = {"id": str(scene.number), "image": scene.image}
    asked = f"<image>\n{ASKED}"
    right, wrong = described(scene.there), with_one_invented(scene, rng)
    count = str(len(scene.shapes))
    names = " and a ".join(scene.there)
    return {
        "sft.json": [
            named | {"conversations": turns(asked, right)},
            named | {"id": f"{scene.number}-count", "conversations": turns(f"<image>\n{COUNTED}", count)},
        ],
        "prompts.json": [named | {"conversations": turns(asked)}],
        "count.jsonl": [
            {"image": scene.image, "problem": COUNTED, "solution": f"<answer> {count} </answer>"}
        ],
        "human_preferences.json": [
            named
            | {"conversations": turns(asked), "preference": 2}
            | {
                f"output_{place}": {"from": "llava", "value": text}
                for place, text in ((1, wrong), (2, right))
            }
        ],
        "pairs.json": [named | {"conversations": turns(asked, [right, wrong])}],
        "text_pairs.json": [
            {"id": f"text-{scene.number}", "conversations": turns(f"Name a {names}.", [right, wrong])}
        ],
        "vl_rewardbench.jsonl": [
            named
            | {"id": f"mmmu-{scene.number}", "query": ASKED}
            | {"response": [wrong, right], "human_ranking": [1, 0]}
        ],
        "revised.json": [
            named | {"id": f"{scene.number}-{place}", "conversations": turns(asked, text)}
            for place, text in enumerate((right, right))
        ],
    }


def annotations(scenes: list[Scene]) -> dict[str, list[dict]]:
    """As COCO has them: an instance for each shape."""
    ids = {name: number for number, name in enumerate(SHAPES, 1)}
    instances = [(scene.number, ids[name]) for scene in scenes for name in scene.shapes]
    return {
        "images": [{"id": scene.number, "file_name": Path(scene.image).name} for scene in scenes],
        "categories": [{"id": number, "name": name} for name, number in ids.items()],
        "annotations": [
            {"id": number, "image_id": image, "category_id": category}
            for number, (image, category) in enumerate(instances)
        ],
    }


def main(config: TinyWorldConfig) -> None:
    rng, folder = random.Random(config.seed), Path(config.output)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    files: dict[str, list[dict]] = {}
    scenes = []
    for number in range(1, config.num_pictures + 1):
        scene = Scene(number, tuple(rng.choices(list(SHAPES), k=rng.randint(1, len(CELLS)))))
        scene.draw(rng).save(folder / scene.image)
        scenes.append(scene)
        for name, records in records_of(scene, rng).items():
            files.setdefault(name, []).extend(records)
    files["count_test.jsonl"] = files["count.jsonl"][-8:]
    for name, records in files.items():
        texts = [json.dumps(record) for record in records]
        content = "\n".join(texts) if name.endswith(".jsonl") else "[\n" + ",\n".join(texts) + "\n]"
        (folder / name).write_text(content + "\n")
    (folder / "instances_val2014.json").write_text(json.dumps(annotations(scenes)) + "\n")
    (folder / "captions.json").write_text(
        json.dumps({scene.image: described(scene.there) for scene in scenes})
    )
    (folder / "synonyms.txt").write_text("".join(f"{name}\n" for name in (*SHAPES, "star")))


if __name__ == "__main__":
    run_command(main, TinyWorldConfig)
