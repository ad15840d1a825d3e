"""Answers that a model in training samples, as trees that it can learn from."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from ..config.distill_config import DistillConfig
from ..config.online_dpo_config import OnlineDPOConfig
from ..config.ppo_config import PPOConfig
from ..data.loader import Collator, Data, eval_shares, read_trees
from ..data.record import Record
from ..data.tree import Tree
from ..engine.engine import Engine
from ..model.policy import Policy
from ..process import dist
from .build import build_rollout_engine
from .gap import require_same_prompts
from .sampling import build_sampling

Samples = PPOConfig | OnlineDPOConfig | DistillConfig
HELD = 256  # held-out prompts of a process, with their pictures, that are in memory at a time


@contextmanager
def lent(actor: Engine) -> Iterator[Policy]:
    """The policy with all its weights on this process, ready to sample from."""
    with actor.whole_weights() as policy, actor.evaluating():
        yield policy


class Responder:
    """Has a model in training answer prompts. The seed, the step and the prompt's number in it decide the random
    numbers: not how the prompts are cut into batches or shared out, so a resumed run samples the same."""

    def __init__(self, actor: Engine, config: Samples, data: Data) -> None:
        self.config, self.encoder = config, data.encoder
        self.engine = build_rollout_engine(
            config,
            lambda: lent(actor),
            data.encoder,
            at_a_time=config.prompts_at_a_time,
            longest=config.max_seq_len + config.max_generation_length_of_sampling,
        )
        self.sampling = build_sampling(config, data.encoder, config.max_generation_length_of_sampling)
        self.collate = Collator(data.encoder, data.train.has_images)
        self.skips_bad = data.skips_bad

    def numbers(self, prompts: Sequence[Sequence[Tree]]) -> list[int]:
        """The number of each prompt of a step's micro-batches, one after the other, over all processes, as
        `StepSampler` deals them out."""
        size = self.config.per_device_train_batch_size
        firsts = ((micro * dist.world_size() + dist.rank()) * size for micro in range(len(prompts)))
        return [first + k for first, trees in zip(firsts, prompts, strict=True) for k in range(len(trees))]

    def respond(
        self, prompts: Sequence[Tree], numbers: Sequence[int], *when: int, num_samples: int
    ) -> list[Tree]:
        """The prompts with responses that nobody has scored. The engine must be awake.

        Args:
            numbers: of the prompts, which tell them from each other.
            when: the step, and what else tells this call from others.
        """
        seeds = [hash((self.config.seed, *when, number)) for number in numbers]
        answered = self.engine.respond(prompts, self.sampling, num_samples, seeds)
        require_same_prompts(prompts, answered)
        return [
            tree.with_responses(answers.ids, self.encoder.stop_ids, answers.logps)
            for tree, answers in zip(prompts, answered, strict=True)
        ]

    def answer_held_out(self, records: Sequence[Record]) -> Iterator[list[tuple[list[Tree], bool]]]:
        """The prompts of held-out records with one response each, by random numbers that are the same in each
        evaluation. All processes must call it.

        Yields:
            As many of the batches of `eval_shares`, and whether each counts, as are in memory at a time: the engine
            wakes once for them, since its weights go over anew whenever it does, and sleeps while they are used.
        """
        size = self.config.per_device_eval_batch_size
        shares = eval_shares(range(len(records)), size)
        while some := list(islice(shares, max(1, HELD // size))):
            prompts = [
                read_trees(records, share, self.encoder.encode_all, self.skips_bad) for share, _ in some
            ]
            flat = [tree for trees in prompts for tree in trees]
            numbers = [number for share, _ in some for number in share]
            with self.engine.awake():
                answered = iter(self.respond(flat, numbers, 0, num_samples=1))
            yield [
                ([next(answered) for _ in trees], counts)
                for trees, (_, counts) in zip(prompts, some, strict=True)
            ]
