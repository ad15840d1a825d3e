"""vLLM beside the trainer: it samples what the trainer would, from what the trainer sees, and faults are named."""

import json
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from tests.conftest import RECORDS, record
from tests.ppo.test_gap import config, figures_of_a_step, from_its_start, move, parts_of
from training.ppo.experience import observe
from training.utils.data.encode import without_responses
from training.utils.data.loader import Collator
from training.utils.rollouts.gap import EngineGap
from training.utils.rollouts.gap_watch import GapWatch
from training.utils.rollouts.own import OwnEngine
from training.utils.rollouts.responder import lent
from training.utils.rollouts.vllm_engine import VLLMEngine, WeightsMissing

LONGEST = 512


@pytest.fixture(scope="module")
def parts(tiny_llava, tmp_path_factory):
    """A run of GRPO with vLLM, and the weights that it begins with."""
    output = tmp_path_factory.mktemp("run")
    return parts_of(config(tiny_llava, output, rollout_engine="vllm", max_seq_len=LONGEST))


@pytest.fixture
def run(parts):
    return from_its_start(parts)


def gap_of(engine, policy, encoder, trees, sampling, num_samples=4):
    """Answers, and how far their log-probabilities are from those of the policy."""
    with engine.awake():
        answered = engine.respond(trees, sampling, num_samples, range(len(trees)))
    differences = []
    for tree, answers in zip(trees, answered, strict=True):
        assert answers.prompt_ids == tree.prompt_ids
        batch = Collator(encoder, has_images=False)([tree.with_responses(answers.ids, encoder.stop_ids)])
        with torch.no_grad():
            logps = policy(batch, sampling.temperature)
        told = torch.tensor([logp for each in answers.logps for logp in each])
        differences.append((told - logps).abs().max())
    return answered, float(max(differences))


def trees_of(encoder):
    """Prompts with one, two and no pictures."""
    return [encoder.encode(without_responses(each)) for each in [*RECORDS, record(images=(5,))]]


def test_the_runner_takes_logits_processors_as_ours(run):
    """On a GPU vLLM has another by default, which refuses them; on a CPU only its setting can be seen."""
    from vllm import envs
    from vllm.v1.sample.logits_processor import LogitsProcessor

    from training.utils.rollouts.vllm_parts import Forbidden

    assert run[3].engine.llm.llm_engine.vllm_config.use_v2_model_runner is False
    assert envs.VLLM_USE_V2_MODEL_RUNNER is False and issubclass(Forbidden, LogitsProcessor)


@pytest.mark.parametrize("temperature", [1.0, 0.6, 1.7])
def test_log_probabilities_are_the_trainers_before_and_after_the_policy_moves(run, temperature):
    given, encoder, models, sampler, _ = run
    sampling = replace(sampler.sampling, temperature=temperature)
    for _ in range(2):
        _, gap = gap_of(sampler.engine, models.actor.module, encoder, trees_of(encoder), sampling)
        assert gap < 2e-5
        move(models.actor.module)


def test_greedy_answers_are_those_of_our_own_engine(run):
    given, encoder, models, sampler, prompts = run
    greedy = replace(sampler.sampling, temperature=0.0, max_new_tokens=32)
    own = OwnEngine(lambda: lent(models.actor), encoder.tokenizer.pad_token_id, 8)
    trees = [*trees_of(encoder), *(tree for some in prompts for tree in some)]
    with sampler.engine.awake():
        found = sampler.engine.respond(trees, greedy, 1, [0] * len(trees))
    expected = own.respond(trees, greedy, 1, [0] * len(trees))
    equal = [one.ids == other.ids for one, other in zip(found, expected, strict=True)]
    print(f"greedy answers equal to ours: {sum(equal)} of {len(equal)}")
    assert all(equal)


def test_seeds_decide_and_what_is_sampled_ends_at_stop_tokens_without_structure(run):
    given, encoder, models, sampler, prompts = run
    trees = trees_of(encoder)
    sampling = replace(sampler.sampling, temperature=2.0, max_new_tokens=64)
    with sampler.engine.awake():
        first, again, other, alone = (
            [answers.ids for answers in sampler.engine.respond(some, sampling, 8, seeds)]
            for some, seeds in ((trees, range(4)), (trees, range(4)), (trees, range(4, 8)), (trees[:1], [0]))
        )
    assert first == again and first != other and first[0] == alone[0]
    assert len({tuple(ids) for ids in first[0]}) == 8
    tokens = [token for answers in first + other for ids in answers for token in ids]
    assert encoder.forbidden_ids and not encoder.forbidden_ids & set(tokens)
    for ids in (ids for answers in first + other for ids in answers):
        assert not encoder.stop_ids & set(ids[:-1])
        assert ids[-1] in encoder.stop_ids or len(ids) == 64


def test_top_k_and_top_p_leave_the_tokens_that_they_should(run):
    """Against the trainer's own probabilities of all tokens."""
    given, encoder, models, sampler, _ = run
    tree, policy = trees_of(encoder)[0], models.actor.module
    batch = Collator(encoder, has_images=False)([tree.with_responses([[5]], set())])
    with torch.no_grad():
        hidden = policy.family.hidden_states(policy.model, batch).flatten(0, 1)
        logits = sampler.sampling.allowed(policy.model.lm_head(hidden[batch.predictor]))[0]
    order = logits.argsort(descending=True)
    probabilities = logits[order].softmax(-1)
    nucleus = int((probabilities.cumsum(0) < 0.3).sum()) + 1
    for limit, kept in (({"top_k": 3}, 3), ({"top_p": 0.3}, nucleus)):
        with sampler.engine.awake():
            sampling = replace(sampler.sampling, max_new_tokens=1, **limit)
            (answers,) = sampler.engine.respond([tree], sampling, 400, [1])
        seen = {ids[0] for ids in answers.ids}
        assert seen <= set(order[:kept].tolist())
        assert len(seen) == kept if kept < 10 else len(seen) > kept / 2


def planted(engine, fault, monkeypatch):
    """Breaks the engine as a wrong version or a wrong line would."""
    respond, request = engine.respond, engine._request
    match fault:
        case "top-p":

            def narrow(prompts, sampling, *rest):
                return respond(prompts, replace(sampling, top_p=0.5), *rest)

            monkeypatch.setattr(engine, "respond", narrow)
        case "truncated prompt":

            def cut(tree):
                return request(tree) | {"prompt_token_ids": request(tree)["prompt_token_ids"][:-2]}

            monkeypatch.setattr(engine, "_request", cut)
        case "swapped pictures":

            def swapped(tree):
                made = request(tree)
                pictures = made.get("multi_modal_data", {}).get("image", [])
                turned = [
                    picture.rotate(90, expand=False).convert("L").convert("RGB") for picture in pictures
                ]
                return made | ({"multi_modal_data": {"image": turned}} if turned else {})

            monkeypatch.setattr(engine, "_request", swapped)
        case "stale weights":
            monkeypatch.setattr(engine, "_send", lambda: None)


NAMED = {
    "": None,
    "top-p": "top-p",
    "truncated prompt": "another prompt than the trainer",
    "swapped pictures": "sees other pictures",
    "stale weights": "has the weights that the run began with",
}


@pytest.mark.parametrize("fault", NAMED)
def test_planted_faults_stop_a_run_by_their_names(run, fault, monkeypatch):
    _, _, models, sampler, _ = run
    with sampler.engine.awake():
        pass
    planted(sampler.engine, fault, monkeypatch)
    move(models.actor.module)
    if fault:
        with pytest.raises(EngineGap, match=NAMED[fault]):
            figures_of_a_step(run)
    else:
        print("gap in fp32:", json.dumps(figures_of_a_step(run)))


def test_another_precision_is_named(run):
    given, encoder, models, sampler, prompts = run
    whole = models.actor.module

    class Rounded:
        """Lends the policy in bf16."""

        def __enter__(self):
            return deepcopy(whole).bfloat16()

        def __exit__(self, *exception):
            pass

    engine, sampler.engine = sampler.engine, VLLMEngine(Rounded, encoder, given, LONGEST)
    try:
        with sampler.engine.awake():
            sampled = sampler.sample(prompts, 1)
        with pytest.raises(EngineGap, match="computes in bfloat16 and the trainer in float32"):
            GapWatch(given, sampler, models.actor).look(1, observe(sampled, models, given))
    finally:
        sampler.engine = engine


def test_weights_that_the_policy_does_not_send_stop_the_run(run, monkeypatch):
    given, encoder, models, sampler, prompts = run
    from training.utils.rollouts import vllm_engine

    send = vllm_engine.published_weights
    without = {"language_model.model.norm.weight", "model.language_model.norm.weight"}
    monkeypatch.setattr(
        vllm_engine,
        "published_weights",
        lambda policy: {n: t for n, t in send(policy).items() if n not in without},
    )
    with pytest.raises(WeightsMissing, match="norm"), sampler.engine.awake():
        pass
