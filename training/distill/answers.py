"""What is distilled on: answers that the student samples, and those that records hold."""

import random
from collections.abc import Sequence
from itertools import chain

import torch

from training.distill.models import Teacher
from training.utils.data.record import Record
from training.utils.data.tree import Tree
from training.utils.engine.engine import Engine
from training.utils.loop.tally import Tally
from training.utils.process import dist
from training.utils.rollouts.responder import Responder


class Answering(Responder):
    """Answers the prompts of a step."""

    def answer(self, prompts: Sequence[Sequence[Tree]], step: int) -> list[list[Tree]]:
        """The prompts of each micro-batch with the answers to learn from. The seed, the step and a prompt's number
        decide whose they are, so a resumed run takes the same."""
        numbers = self.numbers(prompts)
        flat = [tree for trees in prompts for tree in trees]
        config = self.config
        own = [
            random.Random(f"{config.seed} {step} {number}").random() < config.on_policy_share
            for number in numbers
        ]
        asked = [tree for tree, is_own in zip(flat, own, strict=True) if is_own]
        asked_numbers = [number for number, is_own in zip(numbers, own, strict=True) if is_own]
        with self.engine.awake():
            sampled = iter(self.respond(asked, asked_numbers, step, num_samples=config.num_generations))
        answered = iter(
            [
                next(sampled) if is_own else given_answer(tree, self.encoder.stop_ids)
                for tree, is_own in zip(flat, own, strict=True)
            ]
        )
        return [[next(answered) for _ in trees] for trees in prompts]


def given_answer(tree: Tree, stop_ids: set[int]) -> Tree:
    """The prompt with its record's answer, which alone is learned from."""
    return tree.with_responses([response.ids for response in tree.responses], stop_ids)


@torch.no_grad()
def evaluate(
    answering: Answering, student: Engine, teacher: Teacher, records: Sequence[Record]
) -> dict[str, float]:
    """Mean divergence over the tokens of one sampled answer to each held-out prompt, with fixed random numbers."""
    tally, config = Tally(), answering.config
    for trees, counts in chain.from_iterable(answering.answer_held_out(records)):
        batch = answering.collate(trees).to(dist.device())
        with student.evaluating():
            losses = student(batch, teacher.logits(trees, batch), config.jsd_beta)
        if counts:
            tally.add({"eval_loss": (losses.sum(), len(losses))})
    return tally.means()
