"""Whether the weights move as they should: steps that are lost, rates, the template."""

import re

import numpy as np

from eval.doctor.change import change, change_of, noise
from eval.doctor.finding import Finding
from eval.doctor.limits import (
    CLIPPED,
    FURTHEST_OF_ADAM,
    KL_OF_NOTHING,
    LEAST_STEPS,
    MOSTLY,
    MOVED,
    OUT_OF_NOISE,
    RISE_OF_LOSS,
    SPIKE,
    SPIKES,
    TEMPLATE_JUMP,
)
from eval.doctor.run import NotJudged, Run
from training.utils.config.ppo_config import steps_of_share

ENDED_BY = re.compile(r"the (?:loss|gradient) of optimizer step \d+ is (?:nan|inf|-inf|not finite)[^\n]*")
LOSSES = ("loss", "policy_loss", "value_loss")


def rate_flag(run: Run) -> str:
    return "--actor_learning_rate" if run.stage == "ppo" else "--learning_rate"


def bad_steps(run: Run) -> Finding | None:
    """Losses or gradients that were not finite."""
    lost = [line["step"] for line in run.steps if any(name in line and line[name] is None for name in LOSSES)]
    count = max([len(lost), *(line.get("bad_steps", 0) for line in run.steps)])
    ended = ENDED_BY.findall(run.said)
    if not count and not ended:
        return None
    evidence = []
    if count:
        where = f", the first at step {lost[0]}" if lost else ""
        evidence.append(f"{count:g} of {len(run.steps)} steps moved nothing{where}")
    evidence += [f"training.log: {ended[-1][:200]}"] if ended else []
    return Finding(
        "bad_steps",
        3 if ended or count > 0.01 * len(run.steps) else 2,
        "Loss or gradient are not finite in some steps",
        tuple(evidence),
        f"look at the records that training.log names; lower {rate_flag(run)}, set --max_grad_norm 1, or --precision "
        "bf16 in place of fp16",
    )


def frozen(run: Run) -> Finding | None:
    """Nothing learns: no rate, no gradient, or a policy that stays where it began."""
    rates = run.series("lr", LEAST_STEPS)
    gradient = "actor_grad_norm" if run.stage == "ppo" else "grad_norm"
    norms = [line[gradient] for line in run.steps if line.get(gradient) is not None]
    reason = ""
    if not rates.values.any():
        reason = f"lr is 0 in all {len(rates)} steps"
        cure = f"set {rate_flag(run)}, and look at --lr_scheduler_type and --num_warmup_steps"
    elif alone := critic_alone(run):
        reason, cure = alone, "lower --skip_actor_model"
    elif norms and not np.any(norms):
        reason = f"{gradient} is 0 in all {len(norms)} steps"
        cure = (
            "look at what is trained (--lang_decoder_update, --lang_lora_dim), and whether the rewards differ"
        )
    elif run.stage == "ppo":
        kl = run.series("kl", LEAST_STEPS)
        furthest = float(np.abs(kl.values).max())
        if furthest < KL_OF_NOTHING:
            reason = f"kl stays within {furthest:.1g} nats of 0 for {len(kl)} steps"
            cure = "raise --actor_learning_rate"
    if not reason:
        return None
    who = "policy" if run.stage == "ppo" else "model"
    return Finding("frozen", 3, f"The {who} stays as it was", (reason,), cure)


def critic_alone(run: Run) -> str:
    """That the critic learns alone for most of a run of policy optimisation; else nothing.

    Raises:
        NotJudged: it still does, as it should.
    """
    if run.stage != "ppo" or any("policy_loss" in line for line in run.steps):
        return ""
    planned = run.num_steps
    until = steps_of_share(run.arguments["skip_actor_model"], planned)
    if until < MOSTLY * planned:
        raise NotJudged(f"the critic learns alone until step {until}; the policy has not begun")
    return f"the critic learns alone until step {until} of {planned}"


def learning_rate_high(run: Run) -> Finding | None:
    """The loss ends above its first value, or has jumped far above it. A policy's loss says nothing of the kind:
    there most of an update is clipped."""
    if run.stage == "ppo":
        clipped = change_of(run, "clipped")
        if clipped.end < CLIPPED:
            return None
        evidence = (str(clipped), str(change_of(run, "actor_grad_norm")))
        cure = "lower --actor_learning_rate tenfold, or set --stop_at_kl 0.02"
        return Finding("learning_rate_high", 2, "Updates overshoot: most are clipped", evidence, cure)
    loss = run.series("loss", LEAST_STEPS)
    first, moved, scatter = float(loss.values[0]), change(loss), noise(loss.values)
    has_risen = moved.end > (1 + RISE_OF_LOSS) * first and moved.end - first > MOVED * scatter
    spikes = (loss.values > SPIKE * first) & (loss.values > first + OUT_OF_NOISE * scatter)
    if not has_risen and spikes.sum() < SPIKES:
        return None
    worst = int(loss.values.argmax())
    evidence = [
        f"loss: {first:.4g} at step {loss.steps[0]}, {moved.end:.4g} from step {moved.steps[1]}",
        f"highest at step {loss.steps[worst]}: {loss.values[worst]:.4g}; grad_norm up to "
        f"{run.series('grad_norm').values.max():.3g}; lr up to {run.series('lr').values.max():.3g}",
    ]
    says = (
        "The loss has risen: what was known is lost"
        if has_risen
        else "The loss jumps far above its first value"
    )
    cure = f"lower {rate_flag(run)} ten- to a hundredfold, or warm up (--num_warmup_steps 0.05)"
    return Finding("learning_rate_high", 3 if has_risen else 2, says, tuple(evidence), cure)


def learning_rate_low(run: Run) -> Finding | None:
    """The loss stands still, and the rates are too small for anything else."""
    loss, rates = change_of(run, "loss"), run.series("lr")
    taken, planned = float(rates.values.sum()), run.arguments["learning_rate"] * run.num_steps
    furthest = taken if len(run.steps) >= run.num_steps else max(taken, planned)  # it may still be warming up
    if not 0 < furthest < FURTHEST_OF_ADAM or abs(loss.z) > MOVED:
        return None
    evidence = (
        str(loss),
        f"the rates of all {run.num_steps} steps together are {furthest:.1g}: Adam moves no weight much further",
    )
    return Finding(
        "learning_rate_low", 2, "The loss stands still", evidence, f"raise {rate_flag(run)} a hundredfold"
    )


def wrong_template(run: Run) -> Finding | None:
    """A model that an earlier stage trained reads another template than there."""
    if not run.starts or "checkpoint_template" not in run.starts[0]:
        raise NotJudged("args.json does not say which template the checkpoint was trained with")
    own, used = run.starts[0]["checkpoint_template"], run.settings.get("template")
    if own is None:
        raise NotJudged("the checkpoint is of no stage of this project and does not say its template")
    if own == used:
        return None
    evidence = [f"the checkpoint was trained with {own!r}, this run reads {used!r}"]
    if run.stage == "sft":  # which may mean it: pre-training and tuning often differ
        loss = run.series("loss", LEAST_STEPS)
        first, end = float(loss.values[0]), change(loss).end
        if first < TEMPLATE_JUMP * end:
            return None
        evidence.append(
            f"loss of step {loss.steps[0]}: {first:.3g}; from step {change(loss).steps[1]}: {end:.3g}"
        )
    return Finding(
        "wrong_template",
        2,
        "The model is shown another template than it was trained with",
        tuple(evidence),
        "leave --template out: `auto` takes the checkpoint's own",
    )
