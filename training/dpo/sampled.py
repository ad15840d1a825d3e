"""From sampled answers and their scores to what a preference loss learns from."""

from dataclasses import dataclass, replace
from statistics import fmean

from training.online.pairing import Choice, best_and_worst, ranked
from training.rewards.observed import Observed
from training.utils.config.online_dpo_config import OnlineDPOConfig
from training.utils.data.tree import Tree
from training.utils.loop.tally import Figures

PICKS = {"best_worst": best_and_worst, "ranked": ranked}


@dataclass
class Compared:
    """What is learned from a micro-batch.

    Attributes:
        trees: prompts with the answers that are compared, the best first. A response's score is how far the rewards
            put it above the mean of all answers to its prompt. Where no prompt has any, one stands in that counts for
            nothing: all processes have to make the same passes.
        counts: how many prompts count.
    """

    trees: list[Tree]
    counts: int
    figures: Figures


def compare(observed: Observed, config: OnlineDPOConfig) -> Compared:
    """The answers to each prompt that are learned from; none where their scores are equal, or less apart than
    `--margin`."""
    penalties = config.missing_eos_penalty * (~observed.batch.ended)
    scores = iter((observed.scores - penalties).tolist())
    ref_logps = iter(observed.of_answers(observed.ref_logps).tolist())
    compared, gaps = [], []
    for tree in observed.trees:
        of_tree = [next(scores) for _ in tree.responses]
        known = [next(ref_logps) for _ in tree.responses]
        for choice in PICKS[config.pick](of_tree, config.margin):
            compared.append(with_answers(tree, choice, of_tree, known))
            gaps.append(of_tree[choice[0]] - of_tree[choice[-1]])
    num = len(observed.trees)
    figures = {"unpaired": (num - len(compared), num), "score_gap": (sum(gaps), len(gaps))}
    stand_in = with_answers(observed.trees[0], (0, 1), [0.0, 0.0], [0.0, 0.0])
    return Compared(compared or [stand_in], len(compared), figures)


def with_answers(tree: Tree, choice: Choice, scores: list[float], ref_logps: list[float]) -> Tree:
    """A prompt with some of its answers.

    Args:
        scores, ref_logps: of all answers.
    """
    mean = fmean(scores)
    chosen = [
        replace(tree.responses[place], score=scores[place] - mean, ref_logp=ref_logps[place])
        for place in choice
    ]
    return replace(tree, responses=chosen)
