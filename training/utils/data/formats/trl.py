"""TRL's columns, and the preference sets that share them: RLAIF-V, MM-RLHF, ultrafeedback_binarized."""

from ..record import DataError
from .dialogue import Dialogue, read_answer, read_one_answer, read_prompt
from .flattened import HH_RLHF, unflatten
from .llava import spelled
from .row import Row
from .spelled import Spelled


def read_preference(row: Row) -> Spelled:
    """`chosen` and `rejected`: answers, or conversations that begin with the prompt.

    The prompt is `prompt` (TRL, MM-RLHF), `question` (RLAIF-V), or what both conversations begin with.
    """
    asked = [key for key in ("prompt", "question") if key in row]
    prompt = read_prompt(row, asked[0]) if asked else Dialogue()
    chosen, rejected = (read_answer(row, key) for key in ("chosen", "rejected"))
    if not asked:
        chosen, rejected = _with_turns(chosen), _with_turns(rejected)
    if (chosen.turns, chosen.system) != (rejected.turns, rejected.system):
        raise DataError("`chosen` and `rejected` begin with different prompts; expected two answers to one")
    if not prompt.turns and not chosen.turns:
        raise DataError(
            "`chosen` and `rejected` are answers and there is no `prompt` or `question`; where a prompt would end "
            "inside a text can't be told"
        )
    if chosen.turns and prompt.turns and not _begins(chosen, prompt):
        raise DataError(f"`chosen` holds another prompt than {row.what(asked[0])}; expected the same")
    for key, answer in (("chosen", chosen), ("rejected", rejected)):
        if len(answer.responses) != 1:
            raise DataError(f"{row.what(key)} holds {len(answer.responses)} answers; expected one")
    found = chosen if chosen.turns else prompt
    found.system = found.system or prompt.system
    found.responses = [*chosen.responses, *rejected.responses]
    return spelled(found)


def _with_turns(answer: Dialogue) -> Dialogue:
    """An answer, with its prompt where a text holds both (hh-rlhf)."""
    turns = (
        unflatten(answer.responses[0], [HH_RLHF]) if len(answer.responses) == 1 and not answer.turns else []
    )
    if not turns or turns[-1].role != "assistant":
        return answer
    return Dialogue(turns[:-1], [turns[-1].text])


def _begins(whole: Dialogue, prompt: Dialogue) -> bool:
    """Whether the prompt is that of a conversation, or its last question."""
    texts = [turn.text.strip() for turn in whole.turns]
    asked = [turn.text.strip() for turn in prompt.turns]
    return texts[-len(asked) :] == asked and (not prompt.system or prompt.system == whole.system)


def read_completion(row: Row) -> Spelled:
    """`prompt` and `completion`; with a `label` of true or false, one answer that is desirable or not."""
    found = read_prompt(row, "prompt")
    found.responses = read_one_answer(row, "completion")
    return spelled(found, desirable=row.flag("label") if "label" in row else None)


def read_prompt_only(row: Row) -> Spelled:
    """`prompt` alone, for PPO and prediction; the checkable answer, if there is one, is the label."""
    return spelled(read_prompt(row, "prompt"))
