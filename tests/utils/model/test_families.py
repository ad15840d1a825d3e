"""Each family: prompts as its own processor makes them, trees equal separate rows, generation as in transformers."""

from dataclasses import replace

import pytest
import torch
from transformers import LlavaNextConfig, MistralConfig

from tests.conftest import RECORDS, picture, record
from tests.tiny_families import BUILDERS, build_tiny
from training.utils.config.stage_config import SFTConfig
from training.utils.data.encode import Encoder, without_responses
from training.utils.data.feature_cache import keep_features
from training.utils.data.loader import Collator, Data
from training.utils.data.record import DataError
from training.utils.losses.responses import segment_sum
from training.utils.model.beam_search import beam_search
from training.utils.model.build_model import FAMILIES, build_policy, get_family
from training.utils.model.generate import Sampling, generate
from training.utils.model.policy import Policy
from training.utils.model.save import save_model
from training.utils.model.tower import frozen_towers
from training.utils.model.value_head import ValueModel

TREES = [name for name in BUILDERS if FAMILIES[name.partition(":")[0]].takes_trees]


class Tiny:
    """A tiny checkpoint, opened once."""

    def __init__(self, name, folder):
        self.folder = build_tiny(name, folder)
        self.family = get_family(name.partition(":")[0], folder)
        self.processor = self.family.load_processor(str(folder))
        self.encoder = Encoder(self.processor, self.family, "auto", max_seq_len=1024)

    @property
    def model(self):
        return self.family.load_model(str(self.folder)).eval()

    def batch(self, *records, separate=False):
        trees = [self.encoder.encode(record) for record in records]
        if separate:
            trees = [branch for tree in trees for branch in tree.branches()]
        return Collator(self.encoder, any(r.images for r in records))(trees)


@pytest.fixture(scope="session")
def tiny_of(tmp_path_factory):
    opened = {}

    def open_once(name):
        if name not in opened:
            opened[name] = Tiny(name, tmp_path_factory.mktemp("family") / name.replace(":", "-"))
        return opened[name]

    return open_once


@pytest.fixture(params=list(BUILDERS))
def tiny(request, tiny_of):
    return tiny_of(request.param)


@pytest.fixture(params=TREES)
def tree_tiny(request, tiny_of):
    return tiny_of(request.param)


def messages(one):
    """A record as its own processor's chat messages: the line break behind pictures that open a turn is no word."""
    made = []
    for turn in one.turns:
        parts = []
        for number, words in enumerate(turn.text.split("<image>")):
            parts += [{"type": "image"}] if number else []
            opens = all(part["type"] == "image" for part in parts)
            words = words.lstrip("\n") if opens else words
            parts += [{"type": "text", "text": words}] if words.strip() else []
        made.append({"role": turn.role, "content": parts})
    return made


SIZES = [(40, 30), (30, 70), (64, 64)]
SEVERAL = record("And <image>\nthis?", images=(), history=("<image>\n<image>\nWhat is this?", "A star."))
SEVERAL = replace(SEVERAL, images=tuple(picture(n, size) for n, size in enumerate(SIZES)))


def processed(tiny, one):
    """A prompt as the family's own processor makes it."""
    text = tiny.processor.apply_chat_template(messages(one), tokenize=False, add_generation_prompt=True)
    images = [list(one.images)] if one.images else None  # as apply_chat_template hands them on
    if not images and tiny.family is FAMILIES["paligemma"]:  # its processor wants a picture
        text = f"{tiny.processor.tokenizer.bos_token}{text}\n"
        made = tiny.processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        return {**made, "token_type_ids": torch.zeros_like(made["input_ids"])}
    made = tiny.processor(text=text, images=images, add_special_tokens=False, return_tensors="pt")
    return {name: tensor for name, tensor in made.items() if name != "labels"}


@pytest.mark.parametrize("one", [RECORDS[0], SEVERAL, RECORDS[2]], ids=["one", "several", "text"])
def test_a_prompt_gives_the_logits_that_its_own_processor_leads_to(one, tiny):
    expected = processed(tiny, one)
    batch = tiny.batch(without_responses(one))
    assert batch.input_ids.tolist() == expected["input_ids"].tolist()
    model = tiny.model
    with torch.no_grad():
        ours = model.lm_head(tiny.family.hidden_states(model, batch))
        theirs = model(**expected).logits
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=0)


def test_a_record_takes_as_much_of_a_batch_as_was_counted_before(tiny):
    for one in [*RECORDS, replace(SEVERAL, responses=("A circle.", "No, a blue one."))]:
        facts = tiny.encoder.inspect(one, [image.size for image in one.images], exact=True)
        batch = Collator(tiny.encoder, has_images=False)([tiny.encoder.encode(one)])
        assert (facts.rows, facts.longest) == tuple(batch.input_ids.shape), one.id


def test_pictures_in_the_training_precision_are_read_as_before(tiny):
    model = tiny.family.load_model(str(tiny.folder), dtype=torch.bfloat16).eval()
    batch = tiny.batch(RECORDS[0], SEVERAL)
    as_travelling = batch.with_pixels_in(torch.bfloat16)
    assert {t.dtype for t in as_travelling.vision.values() if t.is_floating_point()} == {torch.bfloat16}
    with torch.no_grad():
        said = [tiny.family.hidden_states(model, each) for each in (batch, as_travelling)]
    assert torch.equal(*said)


def answered(tiny, one, answer):
    """A prompt as the family's own processor makes it, with an answer, and the labels of transformers' loss."""
    inputs = processed(tiny, one)
    answer, length = torch.tensor([answer]), inputs["input_ids"].shape[1]
    labels = torch.cat([torch.full_like(inputs["input_ids"], -100), answer], dim=1)
    for name, tensor in inputs.items():
        if name != "input_ids" and tensor.shape[:2] == (1, length):  # what is known of each token
            inputs[name] = torch.cat([tensor, *[tensor[:, -1:]] * answer.shape[1]], dim=1)
    if tiny.family is FAMILIES["paligemma"]:
        inputs["token_type_ids"][:, length:] = 1  # a suffix, to its processor
    return {**inputs, "input_ids": torch.cat([inputs["input_ids"], answer], dim=1), "labels": labels}


def test_the_loss_of_a_batch_is_transformers_own_of_one_at_a_time(tiny):
    records = [*RECORDS, replace(SEVERAL, responses=("A circle.", "No, a blue one."))]
    trees = [tiny.encoder.encode(one) for one in records]
    model = tiny.model
    with torch.no_grad():
        batch = Collator(tiny.encoder, has_images=True)(trees)
        logps = Policy(model, tiny.family)(batch)
        answers = batch.response >= 0  # the processors' labels are those of the last answer
        ours = segment_sum(logps[answers], batch.response[answers], batch.num_responses)
        theirs = []
        for one, tree in zip(records, trees, strict=True):
            for response in tree.responses:
                out = model(**answered(tiny, one, response.ids), use_cache=False)
                theirs.append(-out.loss * len(response.ids))
    lengths = torch.tensor([len(response.ids) for tree in trees for response in tree.responses])
    torch.testing.assert_close(ours / lengths, torch.stack(theirs) / lengths, atol=1e-5, rtol=1e-5)


def test_the_tokens_of_pictures_are_known_by_their_sizes(tiny):
    for one in (*RECORDS, SEVERAL):
        sizes = [image.size for image in one.images]
        _, expansions = tiny.family.image_inputs(tiny.processor, one.images)
        assert tiny.family.image_lens(tiny.processor, sizes) == list(map(len, expansions))


@pytest.mark.parametrize("name", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "glm4v"])
def test_responses_stand_in_three_dimensions_where_transformers_puts_them(name, tiny_of):
    tiny = tiny_of(name)
    model = tiny.model
    batch = tiny.batch(RECORDS[0], SEVERAL, separate=True)
    on = batch.tree >= 0
    expected, _ = model.model.get_rope_index(
        batch.input_ids,
        mm_token_type_ids=(batch.input_ids == model.config.image_token_id).int(),
        image_grid_thw=batch.vision["image_grid_thw"],
        attention_mask=on.long(),
    )
    positions = tiny.family.inputs(model, batch)["position_ids"]
    assert torch.equal(positions[:, on], expected[:, on])


def test_prompts_in_a_batch_do_not_change_each_other(tiny):
    policy = Policy(tiny.model, tiny.family)
    together = policy(tiny.batch(*RECORDS))
    alone = [policy(tiny.batch(one)) for one in RECORDS]
    torch.testing.assert_close(together, torch.cat(alone), atol=2e-5, rtol=0)


def with_gradients(module, values):
    module.zero_grad()
    (values * torch.linspace(-1, 1, len(values))).sum().backward()
    return {n: p.grad for n, p in module.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("wrap", [Policy, ValueModel])
def test_branches_of_a_tree_equal_separate_rows(wrap, tree_tiny):
    torch.manual_seed(0)
    module = wrap(tree_tiny.model, tree_tiny.family)
    records = [*RECORDS, replace(SEVERAL, responses=("A circle.", "No, a blue one."))]
    found = []
    for separate in (False, True):
        batch = tree_tiny.batch(*records, separate=separate)
        if wrap is ValueModel:
            values = module(batch, batch.last_token)
        else:
            learned = batch.response >= 0  # earlier turns are learned once in a tree
            values = segment_sum(module(batch)[learned], batch.response[learned], batch.num_responses)
        found.append((values, with_gradients(module, values)))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    assert our_gradients.keys() == their_gradients.keys()
    for name, gradient in their_gradients.items():
        scale = gradient.abs().max().clamp(min=1)
        torch.testing.assert_close(our_gradients[name] / scale, gradient / scale, atol=2e-5, rtol=0, msg=name)


def test_another_picture_changes_what_is_said_of_every_response(tiny):
    torch.manual_seed(0)
    other = record(RECORDS[0].turns[0].text, *RECORDS[0].responses, images=(5,))
    for wrap in (Policy, ValueModel):
        module = wrap(tiny.model, tiny.family)
        values = []
        for one in (RECORDS[0], other):
            batch = tiny.batch(one)
            values.append(module(batch, batch.last_token) if wrap is ValueModel else module(batch))
        assert (values[0] - values[1]).abs().min() > 1e-6


def test_generation_together_equals_transformers_one_at_a_time(tiny):
    encoder, model = tiny.encoder, tiny.model
    forbidden = tuple(encoder.structural_ids - encoder.stop_ids)
    sampling = Sampling(8, temperature=0, stop_ids=tuple(encoder.stop_ids), forbidden_ids=forbidden)
    records = (*RECORDS, SEVERAL)
    prompts = [encoder.encode(without_responses(one)) for one in records]
    answers = generate(Policy(model, tiny.family), prompts, sampling, num_samples=2)
    for one, samples in zip(records, answers, strict=True):
        inputs = processed(tiny, one)
        expected = model.generate(
            **inputs,
            max_new_tokens=8,
            do_sample=False,
            suppress_tokens=[i for i in forbidden if i < model.lm_head.out_features],
        )[0, inputs["input_ids"].shape[1] :]
        assert samples == [expected.tolist()] * 2


def test_beam_search_together_equals_one_at_a_time_and_one_beam_is_greedy(tiny):
    encoder, policy = tiny.encoder, Policy(tiny.model, tiny.family)
    forbidden = tuple(encoder.structural_ids - encoder.stop_ids)
    sampling = Sampling(6, temperature=0, stop_ids=tuple(encoder.stop_ids), forbidden_ids=forbidden)
    prompts = [encoder.encode(without_responses(one)) for one in (*RECORDS, SEVERAL)]
    together = beam_search(policy, prompts, sampling, num_beams=3)
    assert together == [beam_search(policy, [prompt], sampling, num_beams=3)[0] for prompt in prompts]
    assert beam_search(policy, prompts, sampling, num_beams=1) == generate(policy, prompts, sampling)


@pytest.mark.parametrize(("vision", "language"), [(False, False), (False, True), (True, False), (True, True)])
def test_exactly_the_asked_parts_are_trained(vision, language, tiny):
    model = tiny.model
    parts = {
        "vision": ("vision_tower", "vision_model", "visual"),
        "language": ("language_model", "text_model", "lm_head"),
    }
    projector = ("multi_modal_projector", "connector", "image_newline", "visual.merger", "deepstack_merger")
    tiny.family.freeze(model, vision=vision, language=language)
    for name, parameter in model.named_parameters():
        if any(part in name for part in projector):
            expected = True
        else:
            expected = vision if any(part in name for part in parts["vision"]) else language
        assert parameter.requires_grad == expected, name


def test_adapters_alone_move_and_are_merged_when_saved(tiny, tmp_path):
    settings = {"lang_lora_dim": 2, "vis_lora_dim": 2, "lora_alpha": 6.0}
    config = SFTConfig(from_checkpoint=str(tiny.folder), data_path="x", output_dir="x", **settings)
    policy = build_policy(config, tiny.folder, tiny.family)
    trained = {name for name, p in policy.named_parameters() if p.requires_grad}
    assert {name for name in trained if ".lora_" in name} == {n for n in policy.state_dict() if ".lora_" in n}
    others = {id(p) for part in tiny.family.projector(policy.model) for p in _parameters(part)}
    assert {id(p) for p in policy.parameters() if p.requires_grad} - others == {
        id(p) for n, p in policy.named_parameters() if ".lora_" in n
    }
    batch = tiny.batch(*RECORDS)
    with torch.no_grad():
        before = policy(batch)
        for name, parameter in policy.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(0, 0.3)
        after = policy.eval()(batch)
        save_model(tiny.family, policy.model, tmp_path, policy.model.state_dict())
        loaded = Policy(tiny.family.load_model(str(tmp_path)).eval(), tiny.family)
        torch.testing.assert_close(loaded(batch), after, atol=5e-5, rtol=0)
    assert (after - before).abs().max() > 1e-2


def _parameters(part):
    return part.parameters() if isinstance(part, torch.nn.Module) else [part]


def test_a_frozen_tower_changes_nothing_and_is_saved_with_the_rest(tiny, tmp_path):
    batch = tiny.batch(*RECORDS)
    with torch.no_grad():
        expected = Policy(tiny.model, tiny.family)(batch)
        model = tiny.model
        tiny.family.freeze(model, vision=False, language=True)
        frozen = Policy(model, tiny.family)
        torch.testing.assert_close(frozen(batch), expected, atol=1e-5, rtol=0)
        for parameter in frozen.parameters():  # projector and language model
            parameter.mul_(1.1)
        moved = frozen(batch)
        save_model(tiny.family, model, tmp_path, model.state_dict())
        loaded = Policy(tiny.family.load_model(str(tmp_path)).eval(), tiny.family)
        torch.testing.assert_close(loaded(batch), moved, atol=1e-5, rtol=0)
        assert (moved - expected).abs().max() > 1e-3


def test_layers_that_see_a_window_get_no_trees(tmp_path):
    def config(window):
        folder = tmp_path / str(window)
        text = MistralConfig(num_hidden_layers=1, sliding_window=window)
        LlavaNextConfig(text_config=text).save_pretrained(folder)
        return folder

    assert get_family("auto", config(None)).takes_trees
    assert not get_family("auto", config(64)).takes_trees
    assert FAMILIES["llava_next"].takes_trees


def test_a_row_padded_on_the_right_needs_no_mask(tiny):
    """Its loss is the one that the mask leads to: what stands behind a token never reaches it."""
    policy = Policy(tiny.model, tiny.family)
    records = [type(one)(**one.__dict__ | {"responses": ("A red circle.",)}) for one in (*RECORDS, SEVERAL)]
    batch = tiny.batch(*records)
    assert batch.attention_mask is None and not batch.is_token.all()
    with torch.no_grad():
        without = policy(batch)
        batch.__dict__["attention_mask"] = batch.is_token
        torch.testing.assert_close(without, policy(batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("numbers", "slots"), [((0, 0), 1), ((0, 3), 3), ((0, 2), 1), ((3, 2), 3)])
def test_mllama_has_an_empty_picture_slot_only_where_a_row_has_no_picture(numbers, slots, tiny_of):
    """RECORDS have 1, 2 and 0 pictures, SEVERAL has 3; that of the text stands beside one of a picture."""
    tiny = tiny_of("llama-3.2-vision")
    batch = tiny.batch(*[(*RECORDS, SEVERAL)[number] for number in numbers])
    inputs = tiny.family.inputs(tiny.model, batch)
    states_of_slot = 2 * 17  # tiles, and the patches of one with its class
    assert inputs["cross_attention_mask"].shape[-1] == slots * states_of_slot
    assert inputs["cross_attention_states"].shape[1] == slots * states_of_slot


KEEP_NO_FEATURES = ("llava:pixtral", "mistral3", "idefics2")  # pictures share rows of the tower's output


def test_kept_features_give_the_log_probabilities_of_the_pixels_without_the_tower(tiny, tmp_path, request):
    """In a row of their own and together: one picture, two of another shape, none."""
    model = tiny.model
    tiny.family.freeze(model, vision=False, language=False)
    policy = Policy(model, tiny.family)
    encoder = Encoder(tiny.processor, tiny.family, "auto", max_seq_len=1024)
    wide = record("<image>\nWhat is this?", "A wide one.", images=(3,))
    wide = replace(wide, images=(picture(3, (90, 30)),))
    records = [*RECORDS, wide]
    batches = [[each] for each in records] + [records]
    config = SFTConfig(
        from_checkpoint="x", data_path="x", output_dir="x", cache_image_features=str(tmp_path), num_workers=0
    )
    data = Data(records, [], None, encoder, encoder.encode_all)
    if request.node.callspec.params["tiny"] in KEEP_NO_FEATURES:
        with pytest.raises(DataError, match="--cache_image_features: not with a model of type"):
            keep_features(config, policy, data)
        return

    def logps(batch):
        return policy(Collator(encoder, True)(encoder.encode_all(batch)))

    with torch.no_grad():
        expected = [logps(batch) for batch in batches]
        keep_features(config, policy, data)
        (tower,) = frozen_towers(policy)
        asked, tower.__dict__["tower"].forward = tower.num_images_encoded, lambda *_: pytest.fail("asked")
        for batch, values in zip(batches, expected, strict=True):
            torch.testing.assert_close(logps(batch), values, atol=2e-5, rtol=0)
    assert tower.num_images_encoded == asked
