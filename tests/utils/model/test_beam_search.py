"""Beam search against greedy decoding and against transformers."""

import pytest
import torch

from tests.conftest import record
from tests.utils.model.test_generate import by_transformers, greedy, prompts
from training.utils.model.beam_search import beam_search
from training.utils.model.generate import Sampling, generate
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy


def test_one_beam_is_greedy(model, encoder):
    policy, sampling = Policy(model, Llava()), greedy(encoder)
    assert beam_search(policy, prompts(encoder), sampling, 1) == generate(policy, prompts(encoder), sampling)


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("stops", [2, 4])
def test_batched_beams_equal_transformers_one_at_a_time(num_beams, stops, model, encoder):
    """Also where a likely token ends a response, so that beams finish at different lengths."""
    asked = prompts(encoder) + [encoder.encode(record("<image>\nName it.", images=(7,)))]
    policy, plain = Policy(model, Llava()), greedy(encoder)
    with torch.no_grad():
        model.lm_head.weight *= 4  # the tiny model hardly prefers anything
    free = beam_search(policy, asked, plain, num_beams)
    ends = [ids[0][place] for ids, place in zip(free, (4, 7, 2, 9), strict=True)]
    stop_ids = tuple(dict.fromkeys(ends[:stops]))  # tokens of likely responses end them
    sampling = Sampling(12, temperature=0, stop_ids=stop_ids, forbidden_ids=plain.forbidden_ids)
    batched = beam_search(policy, asked, sampling, num_beams)
    lengths = set()
    for prompt, (ids,) in zip(asked, batched, strict=True):
        more = {"num_beams": num_beams, "eos_token_id": list(stop_ids)}
        assert ids == by_transformers(model, prompt, sampling, **more)
        lengths.add(len(ids))
    assert len(lengths) > 1


def test_more_beams_find_a_likelier_response(model, encoder):
    """Without stop tokens all responses are of one length, and the score is their log-probability."""
    policy, asked = Policy(model, Llava()), prompts(encoder)
    sampling = Sampling(6, temperature=0, forbidden_ids=greedy(encoder).forbidden_ids)

    def logp(prompt, ids) -> float:
        whole = torch.tensor([prompt.prompt_ids + ids])
        with torch.no_grad():
            logps = model(input_ids=whole, **prompt.vision).logits[0].log_softmax(-1)
        start = len(prompt.prompt_ids)
        return sum(logps[start + place - 1, token].item() for place, token in enumerate(ids))

    one, many = beam_search(policy, asked, sampling, 1), beam_search(policy, asked, sampling, 8)
    gains = [logp(p, b[0]) - logp(p, a[0]) for p, a, b in zip(asked, one, many, strict=True)]
    assert min(gains) > -1e-4 and max(gains) > 1e-3
