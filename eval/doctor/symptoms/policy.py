"""Whether sampling and rewards teach a policy what they should."""

import numpy as np

from eval.doctor.change import Change, change, change_of
from eval.doctor.finding import Finding
from eval.doctor.limits import (
    DULL,
    ENDED_ALMOST_NEVER,
    ENDED_BEFORE,
    KL_OF_RESPONSE,
    KL_OF_TOKEN,
    LEAST_STEPS,
    LENGTH_FACTOR,
    MOVED,
    NEAR_ITS_BEST,
    SPREAD_OF_NOTHING,
    STILL,
)
from eval.doctor.run import NotJudged, Run
from training.utils.config.aspects import weights_of
from training.utils.config.objective_config import COMPARING
from training.utils.config.rewards_config import OWN_FLAGS, weights_of_scores

PART = "reward "  # how the log calls one of several rewards


def dull_groups(run: Run) -> Finding | None:
    """Samples of a prompt that all have one score."""
    if run.arguments["advantage_estimator"] not in COMPARING:
        return None
    dull = run.series("dull", LEAST_STEPS)
    half = dull.values[len(dull) // 2 :]
    share = float(np.median(half))
    if share < DULL:
        return None
    return Finding(
        "dull_groups",
        3,
        "Nearly all prompts teach nothing: their samples have one score",
        (
            f"{share:.0%} of the prompts in the median of the last {len(half)} steps",
            str(change(run.series("reward"))),
            *run.samples(last=True),
        ),
        "prompts of middling difficulty, a reward with more than two values, more --num_generations, "
        "--temperature 1, --dynamic_sampling 2",
    )


def saturated_rewards(run: Run) -> Finding | None:
    """A reward that says the same of all responses."""
    spread = run.series("reward_std", LEAST_STEPS)
    middle = float(np.median(spread.values))
    if middle > SPREAD_OF_NOTHING:
        return None
    return Finding(
        "saturated_rewards",
        3,
        "The reward says the same of every response",
        (f"reward_std {middle:.2g} in the median of {len(spread)} steps", *run.samples(last=True)),
        "look at what the reward reads (python -m training.reward_model.score on some responses), and whether its "
        "model has its value head",
    )


def kl_runaway(run: Run) -> Finding | None:
    """The policy leaves its reference for good."""
    kl, length = change_of(run, "kl"), change_of(run, "response_len")
    a_token = kl.end / max(length.end, 1.0)
    if kl.end < KL_OF_RESPONSE or a_token < KL_OF_TOKEN or kl.by <= 0:
        return None
    return Finding(
        "kl_runaway",
        2,
        "The policy has run away from its reference: rewards there mean little",
        (f"{kl}; {a_token:.2g} nats a token", str(change_of(run, "reward")), *run.samples(last=True)),
        "raise --kl_coef, or let it adapt: --kl_target 6; lower --actor_learning_rate; --stop_at_kl 0.02",
    )


def lost_eos(run: Run) -> Finding | None:
    """Responses that are cut at full length."""
    ended = change_of(run, "ended")
    if ended.end > ENDED_ALMOST_NEVER:
        return None
    limit = run.arguments.get("max_generation_length_of_sampling")
    evidence = (
        f"share of responses that end: {ended.start:.0%} up to step {ended.steps[0]}, "
        f"{ended.end:.0%} from step {ended.steps[1]}",
        f"{change_of(run, 'response_len')}; --max_generation_length_of_sampling {limit}",
        *run.samples(last=True),
    )
    if ended.start >= ENDED_BEFORE:
        cure = "--missing_eos_penalty above what longer responses gain; look at what the reward likes"
        return Finding("lost_eos", 3, "The policy has unlearned to end its responses", evidence, cure)
    cure = "raise --max_generation_length_of_sampling; if they never end, look at the template's end of turn"
    return Finding("lost_eos", 2, "Hardly any response ends: all are cut", evidence, cure)


def length(run: Run) -> Finding | None:
    """Responses twice as long as at the start, or half."""
    tokens = change_of(run, "response_len")
    if abs(tokens.z) < MOVED or 1 / LENGTH_FACTOR < tokens.end / tokens.start < LENGTH_FACTOR:
        return None
    grows = tokens.by > 0
    evidence = (
        str(tokens),
        str(change_of(run, "reward")),
        *run.samples(last=False, count=1),
        *run.samples(True),
    )
    cure = "see whether the reward pays for it (rollouts.jsonl); score with length taken off, or a higher --kl_coef"
    return Finding(
        "length_growth" if grows else "length_collapse",
        1 if grows else 2,
        f"Responses are {'longer' if grows else 'shorter'} by a factor of "
        f"{max(tokens.end / tokens.start, tokens.start / tokens.end):.1f}",
        evidence,
        cure,
    )


def answer_not_learned(run: Run) -> Finding | None:
    """Of several rewards one is learned and another is not: as a rule the form, and not the answer."""
    names = [name for name in (run.steps or [{}])[-1] if name.startswith(PART)]
    if len(names) < 2:
        raise NotJudged("there is one reward: form and answer can't be told apart")
    changes = {name: change_of(run, name) for name in names if weight_of(run, name) > 0}
    learned = [one for one in changes.values() if one.z > MOVED]
    flat = [one for one in changes.values() if abs(one.z) < STILL and not at_its_best(run, one)]
    if not learned or not flat:
        return None
    return Finding(
        "answer_not_learned",
        2,
        f"{learned[0].name.removeprefix(PART)} is learned, {flat[0].name.removeprefix(PART)} is not",
        (*map(str, learned), *map(str, flat), *run.samples(last=True)),
        "look whether the labels are right and the answers can be read out of the responses; prompts that are solved "
        "now and then; a higher weight of that reward (--reward_weights)",
    )


def weight_of(run: Run, name: str) -> float:
    """Of one of several scores in the log; 0 where it is only shown, as a member of an ensemble is."""
    arguments, name = run.arguments, name.removeprefix(PART)
    weights = weights_of_scores(
        **{flag: arguments.get(flag) or [] for flag in OWN_FLAGS},
        weights=arguments.get("reward_weights") or [],
        ensemble=arguments.get("reward_ensemble") or "",
    )
    checkpoint, _, aspect = name.rpartition(" ")
    if name in weights or checkpoint not in weights:
        return weights.get(name, 0.0)
    of_aspects = weights_of(arguments.get("aspect_weights") or [])
    return weights[checkpoint] * (of_aspects.get(aspect, 0.0) if of_aspects else 1.0)


def at_its_best(run: Run, one: Change) -> bool:
    """Whether a reward that stands still has nothing left to learn."""
    return one.end >= NEAR_ITS_BEST * run.series(one.name, LEAST_STEPS).values.max()
