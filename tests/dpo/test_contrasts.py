"""What losses compare with: answers to other prompts, and the best answer below other images."""

from dataclasses import replace

import pytest
import torch

from tests.conftest import RECORDS
from training.dpo.contrasts import Contrasts
from training.dpo.loss_types import WeightedLosses
from training.dpo.ranked import ranked_responses
from training.dpo.reference import response_logps
from training.utils.config.stage_config import DPOConfig
from training.utils.data.loader import Collator
from training.utils.data.tree import Kind
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy


def config(*loss_type):
    return DPOConfig(from_checkpoint="x", data_path="x", output_dir="x", loss_type=list(loss_type))


@pytest.fixture
def policy(tiny_llava):
    return Policy(Llava().load_model(str(tiny_llava)), Llava())


def batch_of(encoder, borrow=False, other_image="", packing=False, records=RECORDS):
    trees = Contrasts(encoder, borrow, other_image, seed=0)(records)
    return Collator(encoder, has_images=True, packing=packing)(trees)


def test_a_borrowed_answer_is_judged_as_if_it_were_the_prompts_own(encoder, policy):
    """log pi of the second record's best answer below the first prompt, and so on around."""
    batch = batch_of(encoder, borrow=True)
    assert batch.kind.tolist() == [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]
    answers = [RECORDS[1].responses[0], RECORDS[2].responses[0], RECORDS[0].responses[0]]
    swapped = [replace(one, responses=(text,)) for one, text in zip(RECORDS, answers, strict=True)]
    alone = batch_of(encoder, records=swapped)
    with torch.no_grad():
        borrowed = response_logps(policy, batch)[batch.kind == Kind.BORROWED]
        torch.testing.assert_close(borrowed, response_logps(policy, alone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("other_image", ["crop", "noise"])
def test_the_best_answer_also_stands_below_other_images(other_image, packing, encoder, policy):
    batch = batch_of(encoder, other_image=other_image, packing=packing)
    other = batch.kind == Kind.OTHER_IMAGE
    assert batch.ids == [one.id for one in RECORDS]  # still a prompt each
    assert batch.prompt_of_response[other].tolist() == [0, 1]  # the third has no picture
    with torch.no_grad():
        logps = response_logps(policy, batch)
    assert batch.label_ids[batch.response == int(other.nonzero()[0])].tolist() == encoder.response_ids(
        RECORDS[0].responses[0]
    )
    ranked = ranked_responses(batch, logps, torch.zeros_like(logps))
    assert ranked.lengths.shape == (7,) and ranked.image_margins.shape == (2,)
    assert (ranked.image_margins != 0).all()  # other pixels, another probability
    first = int((batch.prompt_of_response == 1).nonzero()[0])
    expected = logps[first] - logps[other][1]
    torch.testing.assert_close(ranked.image_margins[1], expected)


def test_the_other_image_is_the_same_in_each_epoch_and_another_for_each_record(encoder):
    contrasts = Contrasts(encoder, False, "crop", seed=0)
    first, again = (contrasts(RECORDS)[1].vision["pixel_values"] for _ in range(2))
    torch.testing.assert_close(first, again, atol=0, rtol=0)
    noise = Contrasts(encoder, False, "noise", seed=0)
    of_two = noise([RECORDS[0], replace(RECORDS[0], id="b")])
    one, two = of_two[1], of_two[3]
    assert not torch.equal(one.vision["pixel_values"], two.vision["pixel_values"])


def test_the_three_terms_of_mdpo_add_up_and_a_prompt_without_images_has_two(encoder, policy):
    batch = batch_of(encoder, other_image="crop")
    with torch.no_grad():
        logps = response_logps(policy, batch)
    ranked = ranked_responses(batch, logps, logps + torch.randn(len(logps)))
    terms = [WeightedLosses(config(name))(ranked) for name in ("sigmoid", "image_conditional", "anchored")]
    torch.testing.assert_close(WeightedLosses(config("mdpo"))(ranked), sum(terms))
    assert terms[1][2] == 0 and (terms[1][:2] > 0).all()
