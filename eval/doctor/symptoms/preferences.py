"""Whether preferences are learned the right way round, and not too well."""

from math import sqrt

import numpy as np

from eval.doctor.change import change, change_of
from eval.doctor.finding import Finding
from eval.doctor.limits import (
    ACCURACY_OF_CERTAINTY,
    EARLY,
    END_SHARE,
    LEAST_STEPS,
    MARGIN_OF_CERTAINTY,
    MOVED,
    REFERENCE_AGREES,
)
from eval.doctor.run import NotJudged, Run


def swapped_pairs(run: Run) -> Finding | None:
    """The reference itself finds nearly every rejected response likelier than the chosen one."""
    if run.arguments.get("online"):
        raise NotJudged("the policy samples both answers itself, and rewards say which is better")
    agrees = run.series("reference_accuracy", LEAST_STEPS)
    share = float(agrees.values.mean())
    pairs = len(agrees) * run.settings.get("global batch size", 1)
    highest = share + MOVED * sqrt(max(share * (1 - share), 1 / pairs) / pairs)
    if highest >= REFERENCE_AGREES:
        return None
    chosen, rejected, accuracy = (
        change_of(run, name) for name in ("chosen_logps", "rejected_logps", "accuracy")
    )
    evidence = (
        f"a token of the chosen response is likelier to the reference in {share:.0%} of {pairs} pairs "
        f"(less than {highest:.0%} with certainty)",
        f"{accuracy}, while {rejected}",
        str(chosen),
    )
    return Finding(
        "swapped_pairs",
        2,
        "Chosen and rejected look swapped",
        evidence,
        "read some pairs (python -m data.check); if the rejected ones are better, exchange them; if they are samples "
        "of this very model and all edited, this is as it should be",
    )


def away_from_chosen(run: Run) -> Finding | None:
    """The policy moves from the chosen responses, and to the rejected ones."""
    margin = change_of(run, "margin")
    if margin.end >= 0 or margin.end > -MOVED * margin.error:
        return None
    chosen, rejected = change_of(run, "chosen_reward"), change_of(run, "rejected_reward")
    if chosen.end >= rejected.end:
        return None
    return Finding(
        "away_from_chosen",
        3,
        "The implicit reward of chosen responses has fallen below that of rejected ones",
        (str(margin), str(chosen), str(rejected)),
        "look at the signs of --loss_weights and of a loss of your own; lower --learning_rate",
    )


def saturated_reward_model(run: Run) -> Finding | None:
    """All pairs are right from early on, and the scores still run apart."""
    accuracy, margins = run.series("accuracy", LEAST_STEPS), run.series("margin", LEAST_STEPS)
    early = int(EARLY * len(accuracy))
    certain = float(accuracy.values[early:].mean())
    margin = change(margins)
    if certain < ACCURACY_OF_CERTAINTY or margin.end < MARGIN_OF_CERTAINTY or margin.z < MOVED:
        return None
    window = max(3, int(END_SHARE * early))
    means = np.convolve(accuracy.values, np.ones(window) / window, "valid")
    first = int(accuracy.steps[int((means >= ACCURACY_OF_CERTAINTY).argmax()) + window - 1])
    return Finding(
        "saturated_reward_model",
        2,
        "The reward model is certain of everything: it knows the pairs by something cheap, or by heart",
        (f"accuracy {certain:.1%} from step {accuracy.steps[early]} on, first at step {first}", str(margin)),
        "look for a mark that all chosen responses have (length, first words); fewer epochs, a lower "
        "--learning_rate, --centering_coef 0.01, harder pairs",
    )
