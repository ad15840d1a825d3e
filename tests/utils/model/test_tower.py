"""A frozen tower is one for all models, and sees each batch of pictures once."""

from dataclasses import replace

import torch

from tests.conftest import RECORDS
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.model.generate import Sampling, generate
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.model.value_head import ValueModel


def frozen(tiny_llava, wrap, vision=False):
    model = Llava().load_model(str(tiny_llava))
    Llava().freeze(model, vision=vision, language=True)
    return wrap(model, Llava())


def batch_of(encoder, *records):
    return Collator(encoder, True)([encoder.encode(record) for record in records])


def tower(model):
    return model.model.model.vision_tower


def test_all_models_and_responses_together_encode_each_picture_once(tiny_llava, encoder):
    policy, reference = frozen(tiny_llava, Policy), frozen(tiny_llava, Policy)
    reward_model = frozen(tiny_llava, ValueModel)
    share_towers(policy, reference, reward_model)
    batch = batch_of(encoder, *RECORDS)  # three pictures, seven responses
    policy(batch), reference(batch), reward_model(batch, batch.last_token)
    assert sum(tower(model).num_images_encoded for model in (policy, reference, reward_model)) == 3


def test_remembered_features_change_nothing(tiny_llava, encoder):
    policy, whole = frozen(tiny_llava, Policy), frozen(tiny_llava, Policy, vision=True)
    batch = batch_of(encoder, *RECORDS)
    first, again = policy(batch), policy(batch)
    assert torch.equal(first, again)
    torch.testing.assert_close(first, whole(batch), atol=1e-6, rtol=0)


def test_other_pictures_are_never_taken_for_remembered_ones(tiny_llava, encoder):
    policy, whole = frozen(tiny_llava, Policy), frozen(tiny_llava, Policy, vision=True)
    for record in (RECORDS[0], RECORDS[1], RECORDS[0]):
        batch = batch_of(encoder, record)
        torch.testing.assert_close(policy(batch), whole(batch), atol=1e-6, rtol=0)


def test_towers_with_other_weights_are_not_shared(tiny_llava):
    policy, other = frozen(tiny_llava, Policy), frozen(tiny_llava, Policy)
    with torch.no_grad():
        next(tower(other).tower.parameters()).add_(1)
    share_towers(policy, other)
    assert tower(policy).tower is not tower(other).tower


def test_a_trained_tower_stays_part_of_the_model_and_gets_gradients(tiny_llava, encoder):
    policy = frozen(tiny_llava, Policy, vision=True)
    policy(batch_of(encoder, RECORDS[0])).sum().backward()
    assert policy.model.model.vision_tower.embeddings.patch_embedding.weight.grad.abs().max() > 0


def test_of_all_hidden_states_the_one_that_is_read_is_kept(tiny_llava, encoder):
    """A LLaVA reads the states before the last layer; the projected features are what they were."""
    policy = frozen(tiny_llava, Policy)
    policy(batch_of(encoder, *RECORDS))
    ((_, output),) = tower(policy).memory
    layer = policy.model.config.vision_feature_layer
    assert [number for number, states in enumerate(output.hidden_states) if states is not None] == [
        layer % len(output.hidden_states)
    ]
    kept = {
        t.untyped_storage().data_ptr(): t.untyped_storage().nbytes()
        for t in output.to_tuple()[0]
        if t is not None
    }
    states = output.hidden_states[layer]
    assert list(kept.values()) == [states.numel() * states.element_size()]


def test_models_that_read_other_layers_do_not_share_what_is_kept(tiny_llava, encoder):
    policy, other = frozen(tiny_llava, Policy), Llava().load_model(str(tiny_llava))
    other.config.vision_feature_layer = other.model.config.vision_feature_layer = -1
    Llava().freeze(other, vision=False, language=True)
    share_towers(policy, other)
    batch = batch_of(encoder, *RECORDS)
    policy(batch)
    whole = Llava().load_model(str(tiny_llava))
    whole.config.vision_feature_layer = whole.model.config.vision_feature_layer = -1
    expected = Policy(whole, Llava())(batch)
    torch.testing.assert_close(Policy(other, Llava())(batch), expected, atol=1e-6, rtol=0)


def test_several_batches_are_remembered_and_told_apart(tiny_llava, encoder):
    policy, whole = frozen(tiny_llava, Policy), frozen(tiny_llava, Policy, vision=True)
    share_towers(policy, remembered_batches=2)
    for _ in range(2):
        for record in RECORDS[:2]:  # other tensors of the same values the second time
            batch = batch_of(encoder, record)
            torch.testing.assert_close(policy(batch), whole(batch), atol=1e-6, rtol=0)
    assert tower(policy).num_images_encoded == 3


def test_pictures_are_known_again_after_generation_in_the_training_precision(tiny_llava, encoder):
    model = Llava().load_model(str(tiny_llava), dtype=torch.bfloat16)
    Llava().freeze(model, vision=False, language=True)
    policy, trees = Policy(model, Llava()), encoder.encode_all(RECORDS)
    reader = Encoder(encoder.processor, encoder.family, "auto", 512, pixel_dtype=torch.bfloat16)
    with torch.no_grad():
        generate(policy, [replace(tree, responses=[]) for tree in trees], Sampling(max_new_tokens=1))
        policy(Collator(reader, True)(trees))
    assert tower(policy).num_images_encoded == 3
