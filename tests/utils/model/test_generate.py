"""Generation: one prefill for all samples, and the same words as one at a time."""

from dataclasses import dataclass, field, replace

import pytest
import torch
from transformers.cache_utils import DynamicLayer

from tests.conftest import RECORDS
from training.utils.data.encode import without_responses
from training.utils.model import generate as generate_module
from training.utils.model.cache import GrowingLayer
from training.utils.model.generate import Sampling, generate
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy


def prompts(encoder):
    return [encoder.encode(without_responses(record)) for record in RECORDS]


def greedy(encoder, **more):
    forbidden = tuple(encoder.structural_ids - encoder.stop_ids)
    return Sampling(12, temperature=0, stop_ids=tuple(encoder.stop_ids), forbidden_ids=forbidden, **more)


def by_transformers(model, prompt, sampling, **more):
    """Token ids of the response that transformers' own generation gives, without sampling."""
    ids = torch.tensor([prompt.prompt_ids])
    return model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **prompt.vision,
        max_new_tokens=sampling.max_new_tokens,
        do_sample=False,
        suppress_tokens=list(sampling.forbidden_ids),
        **more,
    )[0, ids.shape[1] :].tolist()


def test_batched_greedy_generation_equals_transformers_one_at_a_time(model, encoder):
    sampling = greedy(encoder)
    batched = generate(Policy(model, Llava()), prompts(encoder), sampling, num_samples=2)
    for prompt, samples in zip(prompts(encoder), batched, strict=True):
        assert samples == [by_transformers(model, prompt, sampling)] * 2


def test_finished_samples_are_dropped_and_the_others_go_on_unchanged(model, encoder):
    policy = Policy(model, Llava())
    whole = generate(policy, prompts(encoder), greedy(encoder))
    # Let the third token of the first answer be a stop token: that answer ends, the rest must not change.
    stop = whole[0][0][2]
    sampling = Sampling(12, temperature=0, stop_ids=(stop,), forbidden_ids=greedy(encoder).forbidden_ids)
    for before, after in zip(whole, generate(policy, prompts(encoder), sampling), strict=True):
        place = before[0].index(stop) + 1 if stop in before[0] else len(before[0])
        assert after[0] == before[0][:place]


@dataclass(frozen=True)
class PartingWays(Sampling):
    """Greedy, but sample number k of a prompt begins with the k-th likeliest token."""

    begun: list = field(default_factory=list)

    def choose(self, logits, generator):
        tokens = super().choose(logits, generator)
        if not self.begun:
            self.begun.append(True)
            tokens = logits.argsort(descending=True)[torch.arange(len(logits)), torch.arange(len(logits))]
        return tokens


@pytest.mark.parametrize("samples_of_row", [8, 2, 1])
def test_samples_that_part_ways_go_on_as_if_each_were_alone(samples_of_row, model, encoder, monkeypatch):
    """In one row or over several, also after others of their row have ended."""
    monkeypatch.setattr(generate_module, "MAX_SAMPLES_OF_ROW", samples_of_row)
    policy, prompt, plain = Policy(model, Llava()), prompts(encoder)[0], greedy(encoder)
    settings = {"temperature": 0, "forbidden_ids": plain.forbidden_ids}
    free = generate(policy, [prompt], PartingWays(12, **settings), num_samples=5)[0]
    settings["stop_ids"] = (free[1][3], free[4][6])  # some end early
    samples = generate(policy, [prompt], PartingWays(12, **settings), num_samples=5)[0]
    assert min(map(len, samples)) < 12
    assert len({tuple(ids) for ids in samples}) == 5
    for ids in samples:
        begun = replace(prompt, prompt_ids=[*prompt.prompt_ids, ids[0]], prompt_learned=[False] * 500)
        alone = generate(policy, [begun], Sampling(11, **settings))[0][0]
        assert ids[1:] == ([] if ids[0] in settings["stop_ids"] else alone)


def test_a_placeholder_is_never_sampled(model, encoder):
    with torch.no_grad():
        model.lm_head.weight[encoder.image_id] = 100 * model.lm_head.weight.sum(0)
        model.lm_head.weight[encoder.tokenizer.pad_token_id] = -model.lm_head.weight[encoder.image_id]
    sampling = Sampling(8, forbidden_ids=tuple(encoder.structural_ids), stop_ids=())
    answers = generate(Policy(model, Llava()), prompts(encoder), sampling, num_samples=4)
    sampled = {token for samples in answers for ids in samples for token in ids}
    assert not sampled & encoder.structural_ids


def test_top_k_and_top_p_keep_the_likeliest_tokens():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().repeat(4000, 1)

    def drawn(**more):
        return set(Sampling(1, **more).choose(logits.clone(), None).tolist())

    assert drawn() == {0, 1, 2, 3}
    assert drawn(top_k=2) == {0, 1}
    assert drawn(top_p=0.75) == {0, 1}  # 0.5 alone is not yet 0.75
    assert drawn(top_p=0.45) == {0}
    assert drawn(temperature=0) == {0}


def test_samples_follow_the_probabilities_of_the_policy():
    logits = torch.tensor([[0.7, 0.2, 0.1]]).log().repeat(20_000, 1)
    counts = torch.bincount(Sampling(1).choose(logits, None), minlength=3) / 20_000
    torch.testing.assert_close(counts, torch.tensor([0.7, 0.2, 0.1]), atol=0.015, rtol=0)


def test_chances_pick_the_token_in_whose_part_of_the_distribution_they_fall():
    """Parts of 0.5, 0, 0.25 and 0.25; a token without any is never picked."""
    logits = torch.tensor([[0.5, 0.0, 0.25, 0.25]]).log().repeat(6, 1)
    chances = torch.tensor([0.0, 0.4999, 0.5001, 0.7499, 0.7501, 1 - 2**-48], dtype=torch.double)
    assert Sampling(1).choose(logits, chances).tolist() == [0, 0, 2, 2, 3, 3]


def test_a_prompt_with_a_seed_gets_the_same_samples_in_any_company(model, encoder):
    policy, stops = Policy(model, Llava()), tuple(encoder.stop_ids)
    sampling = Sampling(6, stop_ids=stops, forbidden_ids=greedy(encoder).forbidden_ids)
    together = generate(policy, prompts(encoder), sampling, num_samples=3, seeds=[5, 6, 7])
    assert len({tuple(ids) for samples in together for ids in samples}) == 9
    for prompt, seed, samples in zip(prompts(encoder), (5, 6, 7), together, strict=True):
        assert generate(policy, [prompt], sampling, num_samples=3, seeds=[seed]) == [samples]


def test_a_cache_with_room_holds_what_transformers_own_does():
    plain, roomy = DynamicLayer(), GrowingLayer()
    for step, length in enumerate((5, 3, *[1] * 80, 2)):
        keys, values = torch.randn(2, 4 if step < 40 else 2, 3, length, 8)
        for ours, theirs in zip(roomy.update(keys, values), plain.update(keys, values), strict=True):
            assert torch.equal(ours, theirs)
        if step == 39:  # two of the four rows go on, and their room is used again
            for layer in (plain, roomy):
                layer.batch_select_indices(torch.tensor([3, 1]))
    assert roomy.get_seq_length() == 90
