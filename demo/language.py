"""The tiny language model learns to read scenes before it sees any: places that say words, and what is true of them.

    python -m demo.language --model models/demo/random --world models/demo/world --output models/demo/reading

That stands for the pretraining of a real language model, which can look for what is asked in a list before it is
ever shown a picture. What a place says is the embedding of its thing's name, added to that of the image token, which
is all that an empty place says; demo.tower has pictures say the same. No picture is drawn, and each scene is read
once. The captions are true: what invents partners is learned in supervised fine-tuning alone.

Some seeds say captions well and have not found out yet that an answer has to look for what is asked. So at the end
the model answers questions about scenes that it has not read; where too few are right, it reads on for as many steps
again.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from demo.imagined import imagined
from demo.model import STRIDE
from demo.questions import Asked
from demo.records import questions
from demo.words import caption
from demo.world import World, read_world
from eval.benches.descriptions import QUESTION
from training.utils.config.flags import flag
from training.utils.data.encode import Encoder
from training.utils.data.record import MARKER, Turn
from training.utils.model.llava import Llava
from training.utils.model.save import save_model
from training.utils.process.command import run_command

from transformers import LlavaForConditionalGeneration  # isort: skip

ROUNDS = 2  # of questions about a scene
NOISE = 0.3  # of what places say, beside its deviation: pictures will not say it exactly (arXiv 2310.05914)
LEARNING_RATE, WEIGHT_DECAY, BETAS = 2e-3, 0.01, (0.9, 0.98)
WARM_UP = 0.12  # share of the steps
CYCLES = 2  # of the steps, at most
READS, EXAMINED = 0.85, 100  # share of answers that are right, of one who looks; scenes that are asked about


@dataclass(frozen=True)
class LanguageConfig:
    model: str = field(metadata={"help": "Folder of the LLaVA with a ResNet, of demo.model."})
    world: str = field(metadata={"help": "Folder of the world."})
    output: str = flag(help="Folder to write into.", writes="folder")
    num_steps: int = field(
        default=900,
        metadata={"help": "Optimizer steps; as many again where it does not look for what is asked."},
    )
    captions: int = field(default=48, metadata={"help": "Scenes of a step with a caption."})
    dialogues: int = field(
        default=12, metadata={"help": "Scenes of a step with many questions and their answers."}
    )
    seed: int = field(default=0, metadata={"help": "Seed of the scenes and of the noise."})


class Row(NamedTuple):
    """A scene and what is said of it."""

    ids: Tensor  # [tokens]
    learned: Tensor  # tokens that an answer produced, [tokens]
    classes: Tensor  # what each place shows, 0 for nothing, [places]


class Page:
    """What scenes look like to the language model where they are written in words."""

    def __init__(self, model: LlavaForConditionalGeneration, encoder: Encoder, names: Sequence[str]) -> None:
        self.model, self.encoder = model, encoder
        tokenizer = encoder.tokenizer
        self.name_ids = [tokenizer(f" {name}", add_special_tokens=False).input_ids for name in names]

    def words(self) -> Tensor:
        """The embedding of each name, the mean where one takes several tokens, [names, size]."""
        table = self.model.get_input_embeddings().weight
        return torch.stack([table[ids].mean(0) for ids in self.name_ids])

    def said(self) -> Tensor:
        """What a place says that shows nothing, and what one says that shows each name, [1 + names, size]."""
        empty = self.model.get_input_embeddings().weight[self.encoder.image_id]
        return torch.cat([empty[None], empty + self.words()])

    def row(self, asked: Sequence[Asked], classes: np.ndarray) -> Row:
        """Questions about a scene with their answers."""
        texts = [(f"{MARKER}\n" * (not number) + each.text, each.answer) for number, each in enumerate(asked)]
        turns = [
            Turn(role, text) for pair in texts for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        places = [[self.encoder.image_id] * len(classes)]
        ids, learned = self.encoder.prompt_ids(turns[:-1], places)
        answer = self.encoder.response_ids(turns[-1].text)
        learned = torch.tensor(learned + [True] * len(answer))
        return Row(torch.tensor(ids + answer), learned, torch.from_numpy(classes))

    def logits(self, rows: Sequence[Row], noise: float) -> tuple[Tensor, Tensor]:
        """What is said at each token of the answers, [tokens, vocabulary], and the tokens themselves.

        Args:
            noise: of what places say, beside its deviation.
        """
        ids = pad_sequence([row.ids for row in rows], batch_first=True)
        learned = pad_sequence([row.learned for row in rows], batch_first=True)[:, 1:]
        said = self.said()
        places = said[torch.stack([row.classes for row in rows])]
        if noise:
            places = places + noise * said.detach().std() * torch.randn_like(places)
        words = self.model.get_input_embeddings()(ids)
        seen = words.masked_scatter((ids == self.encoder.image_id)[..., None], places)
        states = self.model.model.language_model(inputs_embeds=seen).last_hidden_state[:, :-1]
        return self.model.lm_head(states[learned]), ids[:, 1:][learned]

    def loss(self, rows: Sequence[Row]) -> tuple[Tensor, int]:
        """Cross-entropy of all answers, nats, and how many tokens they have."""
        logits, answers = self.logits(rows, NOISE)
        return F.cross_entropy(logits, answers, reduction="sum"), len(logits)

    @torch.no_grad()
    def right(self, row: Row) -> list[bool]:
        """Which answers the model would give as they are."""
        logits, answers = self.logits([row], noise=0)
        places = row.learned.nonzero()[:, 0]
        answer = (places.diff(prepend=places[:1]) > 1).cumsum(0)  # that each token is of
        right = (logits.argmax(1) == answers).split(answer.bincount().tolist())
        return [bool(each.all()) for each in right]


class Scenes:
    """Scenes without end, and rows about them."""

    def __init__(self, world: World, page: Page, rng: random.Random) -> None:
        self.world, self.page, self.rng = world, page, rng
        self.side = page.model.config.vision_config.image_size // STRIDE

    def caption(self) -> Row:
        scene, classes = imagined(self.world, self.side, self.rng)
        return self.page.row([Asked(QUESTION, caption(scene.counts))], classes)

    def dialogue(self) -> Row:
        scene, classes = imagined(self.world, self.side, self.rng)
        names, partner = self.world.names, self.world.partner
        asked = [each for _ in range(ROUNDS) for each in questions(scene, names, partner, self.rng)]
        return self.page.row(asked, classes)

    def step(self, config: LanguageConfig) -> list[list[Row]]:
        """The rows of a step: captions and dialogues, apart because of their lengths."""
        kinds = (self.caption, config.captions), (self.dialogue, config.dialogues)
        return [[row() for _ in range(size)] for row, size in kinds if size]


def train(page: Page, scenes: Scenes, config: LanguageConfig) -> None:
    model = page.model
    parameters = [*model.model.language_model.parameters(), *model.lm_head.parameters()]
    optimizer = torch.optim.AdamW(parameters, weight_decay=WEIGHT_DECAY, betas=BETAS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, LEARNING_RATE, total_steps=config.num_steps + 1, pct_start=WARM_UP, cycle_momentum=False
    )
    for step in range(1, config.num_steps + 1):
        losses, tokens = zip(*map(page.loss, scenes.step(config)), strict=True)
        optimizer.zero_grad()
        (sum(losses) / sum(tokens)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == config.num_steps:
            print(
                f"step {step} of {config.num_steps}  loss {sum(losses).item() / sum(tokens):.3f}", flush=True
            )


def looks(page: Page, world: World, seed: int) -> bool:
    """Whether it answers questions about scenes that it has not read."""
    scenes = Scenes(world, page, random.Random(f"examined {seed}"))
    right = [found for _ in range(EXAMINED) for found in page.right(scenes.dialogue())]
    share = sum(right) / len(right)
    print(
        f"answers {share:.0%} of {len(right)} questions about {EXAMINED} new scenes as they are", flush=True
    )
    return share >= READS


def open_page(folder: str, names: Sequence[str]) -> Page:
    """What scenes look like to the LLaVA of a folder."""
    family = Llava()
    encoder = Encoder(family.load_processor(folder), family, "auto", max_seq_len=2048)
    return Page(family.load_model(folder), encoder, names)


def main(config: LanguageConfig) -> None:
    torch.manual_seed(config.seed)
    world = read_world(Path(config.world))
    page = open_page(config.model, world.names)
    scenes = Scenes(world, page, random.Random(config.seed))
    for _ in range(CYCLES):
        train(page, scenes, config)
        if not config.dialogues or looks(page, world, config.seed):
            break
    save_model(Llava(), page.model, Path(config.output), page.model.state_dict())
    page.encoder.processor.save_pretrained(config.output)


if __name__ == "__main__":
    run_command(main, LanguageConfig)
