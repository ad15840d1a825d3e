"""Critiques: what a model that gives verdicts says before it gives one (arXiv 2408.15240, section 3.3)."""

from collections.abc import Sequence
from contextlib import nullcontext

from torch import nn

from training.rewards.counted import Counted
from training.rewards.verdict import VerdictForm
from training.utils.data.encode import Encoder
from training.utils.data.tree import Tree
from training.utils.engine.offload import Resting, at_work
from training.utils.model.policy import Policy
from training.utils.rollouts.own import OwnEngine
from training.utils.rollouts.sampling import sampling_for

AT_A_TIME = 16  # critiques


class CritiqueWriter:
    """Has a model write critiques, the likeliest token at each place: the same answer always gets the same one."""

    def __init__(self, model: nn.Module, encoder: Encoder, form: VerdictForm) -> None:
        """
        Args:
            model: whole on this process, with the head that it speaks with.
        """
        self.model, self.encoder, self.form = model, encoder, form
        speaker = model.module if isinstance(model, Resting) else model
        policy = Policy(speaker.model, encoder.family)
        self.engine = OwnEngine(lambda: nullcontext(policy), encoder.tokenizer.pad_token_id, AT_A_TIME)
        self.sampling = sampling_for(encoder, form.critique_len, temperature=0.0)
        self.unended = Counted(
            "verdicts: {bad} of {all} critiques so far came to no verdict in "
            f"{form.critique_len} tokens; it was asked for behind what they had come to"
        )

    def write(self, questions: Sequence[Tree]) -> list[str]:
        """A critique for each question, as a prompt."""
        with at_work(self.model):
            answered = self.engine.respond(questions, self.sampling, 1, [0] * len(questions))
        found = [self.form.critique_in(self.encoder.decode(each.ids[0])) for each in answered]
        self.unended.count([not has_ended for _, has_ended in found])
        return [critique for critique, _ in found]
