"""Padding of micro-batches by tokens and by records, on lengths like those of two known data sets.

    python -m scripts.bench_padding

The lengths are drawn, not measured. What is known: a picture of LLaVA-1.5 is 576 tokens; LLaVA's 665k records are of
the parts that table 7 of arXiv 2310.03744 and section 3 of arXiv 2304.08485 give, with several questions to a picture
in one conversation, cut at 2,048 tokens; RLAIF-V (arXiv 2405.17220) has 83,132 pairs of two answers to one question,
of VQA or for a description. How many words a question or an answer has is assumed, in `LLAVA` and `RLAIF_V` below.

"Least" is what no cut into as many micro-batches of neighbours in length falls below, within the same tokens, and how
much longer the processes would wait then for the longest of them: what is cut here is as even as it can be.
"""

from dataclasses import dataclass, field

import numpy as np

from training.utils.data.token_batches import TokenBatches
from training.utils.process.command import run_command

IMAGE_TOKENS, FRAME_TOKENS, LONGEST = 576, 40, 2048  # of a picture; of the template; of a row
TOKENS_A_WORD = 1.35
SPREAD = 0.5  # of the logarithm of a number of words


@dataclass(frozen=True)
class Part:
    """Records of one kind; words and turns are medians."""

    number: int
    turns: int
    question: int  # words
    answer: int
    num_answers: int = 1
    has_picture: bool = True

    def lengths(self, rng: np.random.Generator, number: int) -> np.ndarray:
        """Tokens of records, [number]."""
        turns = np.minimum(1 + rng.poisson(self.turns - 1, number), 20)
        words = np.zeros(number)
        for turn in range(turns.max()):
            for median in (self.question, *[self.answer] * self.num_answers):
                words += np.where(turn < turns, median * rng.lognormal(0, SPREAD, number) + 4, 0)
        tokens = FRAME_TOKENS + IMAGE_TOKENS * self.has_picture + TOKENS_A_WORD * words
        return np.minimum(tokens, LONGEST).astype(int)


LLAVA = {
    "conversations": Part(58_000, turns=4, question=9, answer=22),
    "descriptions": Part(23_000, turns=1, question=10, answer=95),
    "reasoning": Part(77_000, turns=1, question=16, answer=115),
    "ShareGPT": Part(40_000, turns=4, question=25, answer=170, has_picture=False),
    "VQAv2": Part(83_000, turns=5, question=7, answer=1),
    "GQA": Part(72_000, turns=10, question=9, answer=1),
    "OKVQA": Part(9_000, turns=1, question=9, answer=1),
    "OCR-VQA": Part(80_000, turns=5, question=6, answer=4),
    "A-OKVQA": Part(66_000, turns=1, question=25, answer=1),
    "TextCaps": Part(22_000, turns=1, question=60, answer=12),
    "RefCOCO": Part(48_000, turns=6, question=12, answer=8),
    "Visual Genome": Part(86_000, turns=8, question=12, answer=8),
}
RLAIF_V = {
    "VQA": Part(55_000, turns=1, question=12, answer=55, num_answers=2),
    "descriptions": Part(28_000, turns=1, question=9, answer=130, num_answers=2),
}


@dataclass(frozen=True)
class BenchConfig:
    processes: int = field(default=8, metadata={"help": "GPUs."})
    steps: int = field(default=200, metadata={"help": "Optimizer steps to cut."})
    seed: int = field(default=0, metadata={"help": "Of the lengths."})


def drawn(parts: dict[str, Part], number: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of records of all parts, and which have a picture, in an order of chance: [number], [number]."""
    sizes = np.array([part.number for part in parts.values()])
    kinds = rng.choice(len(sizes), number, p=sizes / sizes.sum())
    lengths, pictured = np.zeros(number, int), np.zeros(number, bool)
    for kind, part in enumerate(parts.values()):
        lengths[kinds == kind] = part.lengths(rng, int((kinds == kind).sum()))
        pictured[kinds == kind] = part.has_picture
    return lengths, pictured


def padding(batches: TokenBatches, cuts: list[list[int]], lengths: np.ndarray) -> float:
    """Share of what is neither a prompt nor a response."""
    return 1 - sum(lengths[batch].sum() for batch in cuts) / sum(map(batches.padded_size, cuts))


def least_padded(batches: TokenBatches, records: list[int], number: int) -> list[list[int]]:
    """The records of a step as so many micro-batches with the least padding of all, by dynamic programming."""
    records = sorted(records, key=lambda record: -batches.longest[record])
    count, longest = len(records), batches.longest[records]
    pictured = np.concatenate([[0], np.cumsum(batches.pictured[records])])
    first, end = np.arange(count)[:, None], np.arange(1, count + 1)[None]
    with_filler = (end - first + 1) * np.maximum(longest[first], batches.filler_len)
    has_picture = (pictured[end] > pictured[first]) | (not batches.filler_len)
    size = np.where(has_picture, (end - first) * longest[first], with_filler).astype(float)
    size[(end <= first) | ((size > batches.max_tokens) & (end - first > 1))] = np.inf
    cost = np.array([0.0] + [np.inf] * count)  # of the first records, by their number
    starts = []  # of the last micro-batch of these
    for _ in range(number):
        total = cost[:count, None] + size
        starts.append(total.argmin(0))
        cost = np.concatenate([[np.inf], total.min(0)])
    cuts = []
    for start in reversed(starts):
        cuts.append(records[start[count - 1] : count])
        count = start[count - 1]
    return cuts


def longest_wait(batches: TokenBatches, cuts: list[list[int]], processes: int) -> int:
    """Tokens of the largest of the micro-batches that processes compute on at the same time, over a step."""
    return sum(sorted(map(batches.padded_size, cuts), reverse=True)[::processes])


def main(config: BenchConfig) -> None:
    print(
        "| data | global batch | micro-batches | of a process, a step | padding % | least % | the step longer % |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, parts, global_batch in (("LLaVA-665k, SFT", LLAVA, 128), ("RLAIF-V, DPO", RLAIF_V, 64)):
        rng = np.random.default_rng(config.seed)
        lengths, pictured = drawn(parts, global_batch * config.steps, rng)
        rows, filler_len = np.ones_like(lengths), 0 if pictured.all() else IMAGE_TOKENS
        steps = np.arange(len(lengths)).reshape(config.steps, global_batch).tolist()
        for size in (global_batch // config.processes, 4):
            plain = TokenBatches(1, rows, lengths, pictured, filler_len)
            cuts = [step[first : first + size] for step in steps for first in range(0, global_batch, size)]
            share, each = padding(plain, cuts, lengths), global_batch // config.processes // size
            print(f"| {name} | {global_batch} | {size} records | {each} | {100 * share:.1f} | | |")
        for max_tokens, row_len in ((4096, 0), (8192, 0), (16384, 0), (8192, LONGEST)):
            batches = TokenBatches(max_tokens, rows, lengths, pictured, filler_len, row_len)
            of_steps = [sum(batches.shared_out(step, config.processes), []) for step in steps]
            cuts = [cut for step in of_steps for cut in step]
            each = len(cuts) / config.steps / config.processes
            how = f"{max_tokens:,} tokens" + (", packed" if row_len else "")
            share = padding(batches, cuts, lengths)
            print(f"| {name} | {global_batch} | {how} | {each:.1f} | {100 * share:.1f} |", end="")
            if row_len:
                print(" | |")
                continue
            fewest = [
                least_padded(batches, step, len(cut)) for step, cut in zip(steps, of_steps, strict=True)
            ]
            least = padding(batches, [cut for step in fewest for cut in step], lengths)
            ours, others = (
                sum(longest_wait(batches, step, config.processes) for step in way)
                for way in (of_steps, fewest)
            )
            print(f" {100 * least:.1f} | {100 * (others / ours - 1):.1f} |", flush=True)


if __name__ == "__main__":
    run_command(main, BenchConfig)
