"""A LLaVA's tower and projector learn what each place of a picture shows, in the space of the words.

    python -m demo.tower --model models/demo/reading --world models/demo/world --output models/demo/tiny

That stands for what a real tower has been pretrained for, and for LLaVA's first stage, which aligns the projector
(arXiv 2304.08485, section 4.2). A place is to say what the language model has read there (demo.language). Scenes are
drawn as it goes, each is seen once.
"""

import random
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from demo.imagined import SHOWN
from demo.language import open_page
from demo.model import STRIDE
from demo.world import World, read_world
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.model.llava import Llava
from training.utils.model.save import save_model
from training.utils.process.command import run_command

from transformers import LlavaForConditionalGeneration  # isort: skip

LAYER = -2  # that stage among the tower's features, the default of LLaVA
MEAN, STD = (0.481, 0.458, 0.408), (0.269, 0.261, 0.276)  # of CLIP's pictures
SHARPNESS = 20  # of the choice between cosines
BATCH = 48
LEARNING_RATE = 4e-3


@dataclass(frozen=True)
class TowerConfig:
    model: str = field(metadata={"help": "Folder of the LLaVA that demo.language wrote."})
    world: str = field(metadata={"help": "Folder of the world."})
    output: str = flag(help="Folder to write into.", writes="folder")
    num_scenes: int = field(default=24000, metadata={"help": "Scenes to learn on; each is seen once."})
    seed: int = field(default=0, metadata={"help": "Seed of the scenes and of weights that start at random."})


class Namer(nn.Module):
    """What each place of a picture says to the language model, and which name is nearest to it."""

    def __init__(self, model: LlavaForConditionalGeneration, said: Tensor) -> None:
        """
        Args:
            said: what a place is to say of nothing and of each name, [1 + names, size].
        """
        super().__init__()
        self.tower, self.projector = model.model.vision_tower, model.model.multi_modal_projector
        self.register_buffer("said", said)
        # A classifier of its own tells the tower at once what to look for; the projector learns more slowly.
        self.classifier = nn.Linear(self.tower.config.hidden_size, len(said))

    def features(self, pictures: Tensor) -> Tensor:
        """[pictures, 3, side, side] to [pictures, places, features]."""
        return self.tower(pictures, output_hidden_states=True).hidden_states[LAYER]

    def forward(self, pictures: Tensor) -> Tensor:
        """How much of each name a place says, 1 for all of it, [pictures, places, names]."""
        words = self.said[1:] - self.said[0]
        length = words.norm(dim=-1).mean()  # an empty place says little: it is near to no name
        said = self.projector(self.features(pictures)) - self.said[0]
        return said @ F.normalize(words, dim=-1).T / length

    def loss(self, pictures: Tensor, classes: Tensor) -> Tensor:
        """Squared error of what places say, as a share of its variance, and the cross-entropy of telling what
        each shows, from its features and from what it says, by the cosine as in CLIP.

        Args:
            classes: what each place shows, 0 for nothing, [pictures, places].
        """
        features = self.features(pictures)
        says = self.projector(features)
        alike = SHARPNESS * F.normalize(says, dim=-1) @ F.normalize(self.said, dim=-1).T
        told = (
            F.cross_entropy(of_places.flatten(0, 1), classes.flatten())
            for of_places in (self.classifier(features), alike)
        )
        return F.mse_loss(says, self.said[classes]) / self.said.var() + sum(told)


def pixels(pictures: Sequence[Image.Image]) -> Tensor:
    values = torch.from_numpy(np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])) / 255
    return ((values - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


def shown(owner: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """The class of the thing that each place shows most of; 0: none.

    Args:
        owner: which thing each pixel shows, 0 for none, [side, side].
        classes: of each thing.
    """
    side = len(owner) // STRIDE
    places = owner[: side * STRIDE, : side * STRIDE].reshape(side, STRIDE, side, STRIDE).swapaxes(1, 2)
    pixels_of = (places.reshape(side * side, -1)[:, :, None] == np.arange(1, len(classes) + 1)).mean(1)
    most = pixels_of.argmax(1)
    return np.where(pixels_of.max(1) >= SHOWN, np.asarray(classes)[most], 0)


def batches(world: World, num_scenes: int, rng: random.Random) -> Iterator[tuple[Tensor, Tensor]]:
    """Pictures and the class of each of their places: [B, 3, side, side] and [B, places]."""
    names = {name: number for number, name in enumerate(world.names, 1)}

    def scene() -> tuple[Image.Image, np.ndarray]:
        while True:
            kinds = rng.sample(world.names, rng.randint(2, 5))
            if drawn := world.placed(kinds, rng):
                return drawn[0], shown(drawn[2], [names[name] for name in kinds])

    def batch() -> tuple[Tensor, Tensor]:
        pictures, classes = zip(*(scene() for _ in range(BATCH)), strict=True)
        return pixels(pictures), torch.from_numpy(np.stack(classes))

    with ThreadPoolExecutor(1) as drawing:  # the next batch is drawn while one is learned
        following = drawing.submit(batch)
        for number in range(steps := max(1, num_scenes // BATCH)):
            drawn = following.result()
            if number + 1 < steps:
                following = drawing.submit(batch)
            yield drawn


def train(namer: Namer, world: World, config: TowerConfig) -> None:
    namer.train()  # a checkpoint is loaded for use: its norms would go on as they were made
    optimizer = torch.optim.AdamW(namer.parameters(), weight_decay=0.05)
    steps = max(1, config.num_scenes // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=steps + 1, pct_start=0.15
    )
    for step, (pictures, classes) in enumerate(
        batches(world, config.num_scenes, random.Random(config.seed)), 1
    ):
        loss = namer.loss(pictures, classes)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(namer.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps:
            print(f"step {step} of {steps}  loss {loss.item():.3f}", flush=True)
    namer.eval()


@torch.no_grad()
def speak_as_loud(namer: Namer, pictures: Tensor) -> None:
    """Gives places embeddings as long as they are to be: that is learned slowly."""
    scale = namer.said.norm(dim=-1).mean() / namer.projector(namer.features(pictures)).norm(dim=-1).mean()
    namer.projector.linear_2.weight *= scale
    namer.projector.linear_2.bias *= scale


@torch.no_grad()
def seen(namer: Namer, pictures: Sequence[Image.Image]) -> Tensor:
    """How near to each name the nearest place is, [pictures, names]: 1 for a place that says that name alone."""
    chunks = (pixels(pictures[start : start + BATCH]) for start in range(0, len(pictures), BATCH))
    return torch.cat([namer(chunk).amax(1) for chunk in chunks])


def table(near: Tensor, there: Tensor) -> str:
    """Precision and recall of the names that a place is near to, by how near it must be."""
    lines = ["near from   precision %   recall %   pictures with a wrong name %"]
    for least in (0.3, 0.5, 0.7):
        said = near > least
        right = (said & there).sum().item()
        precision, recall = right / max(1, said.sum().item()), right / max(1, there.sum().item())
        wrong = (said & ~there).any(1).float().mean().item()
        lines.append(f"{least:9.1f}{100 * precision:14.1f}{100 * recall:11.1f}{100 * wrong:31.1f}")
    return "\n".join(lines)


def main(config: TowerConfig) -> None:
    torch.manual_seed(config.seed)
    folder = Path(config.world)
    world = read_world(folder)
    page = open_page(config.model, world.names)
    model = page.model
    namer = Namer(model, page.said().detach())
    scenes = read_json(folder / "truth_val.json", "scenes")["scenes"]
    pictures = [Image.open(folder / scene["image"]) for scene in scenes]
    speak_as_loud(namer.train(), pixels(pictures[:BATCH]))
    train(namer, world, config)
    save_model(Llava(), model, Path(config.output), model.state_dict())
    page.encoder.processor.save_pretrained(config.output)
    there = torch.tensor([[name in scene["objects"] for name in world.names] for scene in scenes])
    print(f"What it names of {len(scenes)} validation pictures, of {len(world.names)} objects:")
    print(table(seen(namer, pictures), there))


if __name__ == "__main__":
    run_command(main, TowerConfig)
