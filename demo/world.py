"""The demo world: pictures whose objects are known exactly, and the texts and questions that follow.

    python -m demo.world --output models/world

Things stand on real places, some of them half hidden, small, grey or twice. As in real data some objects often come
with a partner, and the captions for supervised fine-tuning name it even where it is not there. The preference pairs
say what is true. Some objects, places and pairs of objects are kept for test splits of their own.
"""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from demo import records, tasks
from demo.art import Art, get_art
from demo.draw import Thing, Wish, compose
from demo.scene import Scene, reading_order
from demo.tasks import Statistics
from demo.words import edited
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.process.command import run_command

# What a split holds that no other does; `test` holds nothing unseen.
SPLITS = ("train", "val", "test", "test_pairs", "test_places", "test_objects")
UNSEEN = SPLITS[3:]
WITH_PARTNER = 0.5  # share of scenes with a tempting object, and room, in which its partner is there
NUMBER_SHARES = {1: 0.72, 2: 0.18, 3: 0.1}  # how many of a kind
GREY_SHARE = 0.1
SIZE_SHARES = {"": 0.6, "small": 0.2, "large": 0.2}
SWAPPED = 2 / 3  # share of twins that differ in what one thing is, not in whether it is there


@dataclass(frozen=True)
class WorldConfig:
    """Arguments of the world."""

    output: str = flag(help="Folder to write into.", writes="folder")
    art: str = flag(
        "auto",
        "`photographs` (Debian packages), `drawings` (OpenMoji), `auto`: the first that can be had; or a folder of "
        "cut-outs NAME.png.",
    )
    art_folder: str = field(default="models/art", metadata={"help": "Folder that photographs are kept in."})
    num_names: int = field(default=80, metadata={"help": "Objects of the world, at most."})
    num_unseen: int = field(default=8, metadata={"help": "Objects that come in test_objects alone."})
    num_train: int = field(default=6000, metadata={"help": "Scenes to train on."})
    num_val: int = field(default=300, metadata={"help": "Scenes to choose settings on."})
    num_test: int = field(default=500, metadata={"help": "Scenes of the test split."})
    num_new: int = field(default=200, metadata={"help": "Scenes of each split with something unseen."})
    bias: float = field(
        default=0.6, metadata={"help": "Share of captions in which an absent partner is named."}
    )
    max_kinds: int = field(default=4, metadata={"help": "Kinds of objects in a scene, at most."})
    picture_px: int = field(default=96, metadata={"help": "Width and height of a picture."})
    seed: int = field(default=0, metadata={"help": "Seed of everything that is drawn."})


class World:
    """Names, places and temptations of a world, and scenes of each split."""

    def __init__(self, config: WorldConfig, art: Art) -> None:
        self.config, self.art = config, art
        rng = random.Random(config.seed)
        names = sorted(art.cutouts)
        rng.shuffle(names)
        if len(art.backgrounds) < 2 or config.max_kinds < 2:
            raise DataError(
                f"--art {config.art}, --max_kinds {config.max_kinds}: found {len(art.backgrounds)} background(s); "
                "expected 2 or more of each, as some are kept for test splits"
            )
        if len(names) < config.num_unseen + 16:
            raise DataError(
                f"--num_unseen {config.num_unseen}: the art has {len(names)} objects; expected 16 more"
            )
        self.unseen = names[: config.num_unseen]
        self.names = names[config.num_unseen :][: config.num_names]
        # Names come with unequal frequency, so that some objects are popular.
        self.weights = {name: 1 / (10 + rank) for rank, name in enumerate(self.names)}
        order = rng.sample(self.names, len(self.names))
        tempting = len(order) // 2
        self.partner = dict(zip(order[:tempting], order[tempting : 2 * tempting], strict=True))
        pairs = [frozenset((a, b)) for i, a in enumerate(self.names) for b in self.names[i + 1 :]]
        usual = {frozenset(pair) for pair in self.partner.items()}
        self.new_pairs = set(rng.sample(pairs, len(pairs) // 10)) - usual
        self.places = len(art.backgrounds)
        self.new_places = max(1, self.places // 5)

    def size_of(self, split: str) -> int:
        config = self.config
        sizes = {"train": config.num_train, "val": config.num_val, "test": config.num_test}
        return sizes.get(split, config.num_new)  # of an odd number one more, as scenes come in twos

    def scenes(self, split: str) -> Iterator[tuple[Scene, Image.Image]]:
        """Scenes with their pictures, in twins: two that differ in one kind of thing alone."""
        rng = random.Random(f"{self.config.seed} {split}")
        for number in range(0, self.size_of(split), 2):
            names = [f"{split}-{number + i:05d}" for i in (0, 1)]
            for wanted, name, twin in zip(self._twins(split, rng), names, names[::-1], strict=True):
                picture, things = self._drawn(wanted, split, rng)
                yield (
                    Scene(name, f"images/{name}.png", tuple(sorted(things, key=reading_order)), twin),
                    picture,
                )

    def _twins(self, split: str, rng: random.Random) -> tuple[dict[str, int], dict[str, int]]:
        """How many of each kind stand in two scenes: all but one kind are the same."""
        while True:
            kinds = self._kinds(split, rng)
            absent = [name for kind in kinds if (name := self.partner.get(kind)) and name not in kinds]
            new = rng.choice(absent) if absent and rng.random() < 0.5 else self._name(rng, kinds)
            numbers = {name: draw_share(NUMBER_SHARES, rng) for name in (*kinds, new)}
            one = {name: numbers[name] for name in kinds}
            replaced = [name for name in kinds if name not in self.unseen]
            old = rng.choice(replaced) if replaced and rng.random() < SWAPPED else ""
            other = edited(one, old, new, numbers[new], rng.randint(0, len(kinds)))
            if self._fits(one, split) and self._fits(other, split):
                return one, other

    def counts(self, split: str, rng: random.Random) -> dict[str, int]:
        """How many of each kind stand in a scene."""
        while True:
            counts = {name: draw_share(NUMBER_SHARES, rng) for name in self._kinds(split, rng)}
            if self._fits(counts, split):
                return counts

    def _name(self, rng: random.Random, but: Sequence[str]) -> str:
        names = [name for name in self.names if name not in but]
        return rng.choices(names, [self.weights[name] for name in names])[0]

    def _kinds(self, split: str, rng: random.Random) -> list[str]:
        count = rng.randint(2 if split == "test_pairs" else 1, self.config.max_kinds)
        kinds: list[str] = [rng.choice(self.unseen)] if split == "test_objects" else []
        while len(kinds) < count:
            kinds.append(self._name(rng, kinds))
            partner = self.partner.get(kinds[-1])
            if partner and partner not in kinds and len(kinds) < count and rng.random() < WITH_PARTNER:
                kinds.append(partner)
        rng.shuffle(kinds)
        return kinds

    def _fits(self, counts: Mapping[str, int], split: str) -> bool:
        together = {frozenset((a, b)) for a in counts for b in counts if a != b}
        is_new = bool(together & self.new_pairs)
        return (
            is_new == (split == "test_pairs")
            and len(counts) <= self.config.max_kinds
            and sum(counts.values()) <= self.config.max_kinds + 2
        )

    def _drawn(
        self, counts: Mapping[str, int], split: str, rng: random.Random
    ) -> tuple[Image.Image, list[Thing]]:
        names = [name for name, count in counts.items() for _ in range(count)]
        while True:
            if drawn := self.placed(names, rng, in_new_place=split == "test_places"):
                return drawn[:2]

    def placed(
        self, names: Sequence[str], rng: random.Random, in_new_place: bool = False
    ) -> tuple[Image.Image, list[Thing], np.ndarray] | None:
        """Things of these names, as they come, on one of the places; as `compose` gives them, nothing if they do not
        fit."""
        wishes = [Wish(name, rng.random() < GREY_SHARE, draw_share(SIZE_SHARES, rng)) for name in names]
        seen = self.places - self.new_places
        place = rng.randrange(seen, self.places) if in_new_place else rng.randrange(seen)
        return compose(self.art, wishes, place, self.config.picture_px, rng)


def draw_share(shares: Mapping, rng: random.Random):
    """A key, each as often as its share says."""
    return rng.choices(list(shares), list(shares.values()))[0]


def write_world(config: WorldConfig) -> None:
    world = World(config, get_art(config.art, Path(config.art_folder)))
    folder = Path(config.output)
    (folder / "images").mkdir(parents=True, exist_ok=True)

    def write(name: str, content: object) -> None:
        file = folder / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    statistics = None
    for split in SPLITS:
        scenes = []
        for scene, picture in tqdm(
            world.scenes(split), total=world.size_of(split), unit="picture", desc=split
        ):
            picture.save(folder / scene.image, compress_level=1)
            scenes.append(scene)
        statistics = statistics or Statistics.of(scenes)
        rng = random.Random(f"{config.seed} {split} texts")
        names = world.names + (world.unseen if split == "test_objects" else [])
        truth = {"objects": names, "partner": world.partner, "scenes": [scene.truth() for scene in scenes]}
        write(f"truth_{split}", truth)
        write(f"prompts_{split}", records.prompts(scenes))
        if split not in UNSEEN:
            write(f"captions_{split}", records.captions(scenes, world.partner, config.bias, rng))
            write(f"questions_{split}", records.conversations(scenes, names, world.partner, rng))
            write(f"pairs_{split}", records.pairs(scenes, rng))
            for kind in tasks.LABELLED:
                write(f"{kind}_{split}", tasks.labelled(kind, scenes, names, rng))
        if split != "train":
            for kind, lines in tasks.pope(scenes, names, statistics, rng).items():
                write_lines(folder / f"pope_{split}" / f"world_pope_{kind}.json", lines)
            for name, content in tasks.amber(scenes, names, world.partner, rng).items():
                write(f"amber_{split}/{name}", content)
            (folder / f"amber_{split}" / "safe_words.txt").write_text("image\n")
    found = replace(config, art=world.art.kind)  # another day `auto` may find another
    write("about", {"art": world.art.title, "licence": world.art.licence, "config": asdict(found)})


def write_lines(file: Path, lines: Sequence[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def read_world(folder: Path) -> World:
    """The world that was written into a folder."""
    config = WorldConfig(**read_json(folder / "about.json", "config")["config"])
    return World(config, get_art(config.art, Path(config.art_folder)))


if __name__ == "__main__":
    run_command(write_world, WorldConfig)
