"""What tokens are to a conversation: words, structure, or the end of an answer; and how many a text has at most."""

import json
import random
import shutil

import pytest
import torch
from tokenizers import normalizers

from tests.conftest import record
from tests.real_vocabularies import llama_3, llava_processor
from training.utils.config.stage_config import PredictConfig
from training.utils.data.encode import Encoder
from training.utils.data.record import DataError
from training.utils.data.segments import Piece
from training.utils.data.vocabulary import Vocabulary
from training.utils.files.model_folder import METADATA_FILE
from training.utils.loop.prepare import build_encoder
from training.utils.model.beam_search import beam_search
from training.utils.model.generate import generate
from training.utils.model.llava import Llava
from training.utils.model.policy import Policy
from training.utils.rollouts.sampling import build_sampling

BOXES = ["<|box_start|>", "<|box_end|>", "<loc_7>", "<seg012>", "</ref>"]  # words by their form


@pytest.fixture
def grounded(tiny_llava):
    """An encoder whose tokenizer has tokens for boxes, and a `<spot>` of the user's own."""

    def make(**settings):
        family = Llava()
        processor = family.load_processor(str(tiny_llava))
        processor.tokenizer.add_tokens([*BOXES, "<spot>"], special_tokens=True)
        return Encoder(processor, family, "auto", max_seq_len=512, **settings)

    return make


def ids_of(encoder, *tokens):
    return encoder.tokenizer.convert_tokens_to_ids(list(tokens))


def test_tokens_of_boxes_are_words_in_questions_and_answers(grounded):
    encoder = grounded()
    tree = encoder.encode(
        record("What is at <|box_start|>1<|box_end|> <loc_7>?", "A <seg012> </ref>.", images=())
    )
    for token in BOXES[:3]:
        assert tree.prompt_ids.count(*ids_of(encoder, token)) == 1
    answer = tree.responses[0].ids
    for token in BOXES[3:]:
        assert answer.count(*ids_of(encoder, token)) == 1
    assert "<seg012>" in encoder.decode(answer) and "</ref>" in encoder.decode(answer)
    assert not encoder.forbidden_ids & set(ids_of(encoder, *BOXES))  # so they can be sampled


def test_a_token_is_a_word_where_the_user_says_so_and_characters_elsewhere(grounded):
    one = record("At <spot>?", "<spot> it is.", images=())
    plain, declared = grounded(), grounded(word_tokens=["<spot>"])
    (spot,) = ids_of(plain, "<spot>")
    assert spot not in plain.encode(one).prompt_ids and spot in plain.forbidden_ids
    assert plain.special_looking(one) == ["<spot>", "<spot>"]
    tree = declared.encode(one)
    assert (
        tree.prompt_ids.count(spot) == 1
        and tree.responses[0].ids[1:].count(spot) + (tree.responses[0].ids[0] == spot) == 1
    )
    assert spot not in declared.forbidden_ids and declared.special_looking(one) == []
    assert declared.decode(tree.responses[0].ids) == "<spot> it is."


def test_words_that_are_tokens_stand_beside_what_only_looks_like_one(grounded):
    encoder = grounded()
    words = "<loc_7> and </s> and <pad> <loc_7>"
    tree = encoder.encode(record(words, "So.", images=()))
    assert tree.prompt_ids.count(*ids_of(encoder, "<loc_7>")) == 2
    assert encoder.tokenizer.pad_token_id not in tree.prompt_ids
    assert encoder.tokenizer.eos_token_id not in tree.prompt_ids
    assert "</s> and <pad>" in encoder.tokenizer.decode(tree.prompt_ids)
    assert encoder.special_looking(record(words, images=())) == ["</s>", "<pad>"]


@pytest.mark.parametrize(
    ("token", "reason"), [("<nowhere>", "is no added token"), ("<image>", "belongs to the structure")]
)
def test_a_word_token_that_can_be_none_is_refused(token, reason, grounded):
    with pytest.raises(DataError, match=f"--word_tokens {token}: {reason}"):
        grounded(word_tokens=[token])


def test_a_conversation_flattened_into_a_question_is_recognised(encoder):
    turns = "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nHello<|eot_id|>"
    assert encoder.special_looking(record(turns, images=())) == [
        *["<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    ]
    assert encoder.special_looking(record("<image>\nHi ASSISTANT: Hello</s>USER: So?")) == ["</s>"]
    assert encoder.special_looking(record("<image>\nIs 1 < 2 | 3 > 2?", "<b>Yes</b> <image>")) == ["<image>"]


def test_every_special_token_of_llama_3_ends_an_answer_or_is_forbidden_in_it():
    stops = [128001, 128008, 128009]  # of Llama 3.2's generation_config.json
    encoder = Encoder(llava_processor(llama_3()), Llava(), "llama-3.2-vision", 4096, stop_ids=stops)
    assert encoder.stop_ids == set(stops)
    assert encoder.forbidden_ids == set(range(128000, 128256)) - set(stops)
    assert encoder.decode([128006, 78191, 128007, 271, 32, 5679, 13, 128009]) == "assistant\n\nA dog."


# -- checkpoints ------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tiny_llava, tmp_path):
    return shutil.copytree(tiny_llava, tmp_path / "model")


def config(folder, **settings):
    return PredictConfig(from_checkpoint=str(folder), data_path="x", output_path="y", **settings)


def test_an_answer_ends_where_the_checkpoints_generation_config_says(checkpoint):
    plain = build_encoder(config(checkpoint), checkpoint)
    file = checkpoint / "generation_config.json"
    for eos, more in ((7, {7}), ([7, 8], {7, 8})):
        file.write_text(json.dumps({"eos_token_id": eos}))
        assert build_encoder(config(checkpoint), checkpoint).stop_ids == plain.stop_ids | more


def test_what_an_earlier_stage_read_as_words_is_read_as_words_again(checkpoint, model, grounded):
    processor = grounded().processor
    processor.save_pretrained(checkpoint)
    model.resize_token_embeddings(len(processor.tokenizer))
    model.save_pretrained(checkpoint)
    metadata = json.dumps({"template": "auto", "word_tokens": ["<spot>"]})
    (checkpoint / METADATA_FILE).write_text(metadata)
    encoder = build_encoder(config(checkpoint), checkpoint)
    assert set(ids_of(encoder, "<spot>")) <= encoder.vocabulary.word_ids and encoder.word_tokens == ["<spot>"]


def test_a_tokenizer_with_more_tokens_than_the_model_has_rows_is_refused_before_it_is_loaded(
    checkpoint, grounded
):
    grounded().processor.save_pretrained(checkpoint)
    for weights in checkpoint.glob("*.safetensors"):
        weights.unlink()
    expected = (
        r"tokenizer holds 6 token\(s\) that the model's embedding of \d+ rows has no row for \(<\|box_start"
    )
    with pytest.raises(DataError, match=expected):
        build_encoder(config(checkpoint), checkpoint)


def test_a_checkpoint_without_a_pad_token_pads_with_its_end_of_sequence(tiny_llava):
    family = Llava()
    processor = family.load_processor(str(tiny_llava))
    processor.tokenizer.pad_token = None
    encoder = Encoder(processor, family, "auto", max_seq_len=512)
    assert encoder.tokenizer.pad_token_id == encoder.tokenizer.eos_token_id
    assert encoder.end_id in encoder.stop_ids and encoder.end_id not in encoder.forbidden_ids


@pytest.mark.parametrize("num_beams", [1, 2])
def test_rows_of_the_vocabulary_that_are_no_token_are_never_sampled(num_beams, model, encoder):
    size = len(encoder.tokenizer)
    model.resize_token_embeddings(size + 200, mean_resizing=False)
    with torch.no_grad():  # by themselves they would be the likeliest
        model.lm_head.weight[size:] = 3 * model.lm_head.weight[:200]
    policy, prompt = Policy(model.eval(), encoder.family), encoder.encode(record())
    sampling = build_sampling(config("x", temperature=1.0), encoder, 20)
    free = type(sampling)(20, forbidden_ids=sampling.forbidden_ids)
    assert any(i >= size for ids in generate(policy, [prompt], free, 8)[0] for i in ids)
    if num_beams == 1:
        responses = generate(policy, [prompt], sampling, 8)[0]
    else:
        responses = beam_search(policy, [prompt], sampling, num_beams)[0]
    assert all(0 <= i < size and i not in encoder.forbidden_ids for ids in responses for i in ids)


# -- how many tokens at most ------------------------------------------------------------------------

ALPHABETS = [
    "abc XYZ 012\n\t.,",
    "äöüßéñ çİı",
    "狗在哪里 これは 한국어",
    "😀👩\u200d🚀\u0301\u0958\ufdfa\u2126\ufb03 ",
    "<|> </s> <pad> ",
    "\x00\x07\u200b\ufeff\u2581",
]


def texts(number=60):
    rng = random.Random(0)
    for place in range(number):
        yield "".join(rng.choices(ALPHABETS[place % len(ALPHABETS)], k=rng.randint(1, 40)))


@pytest.mark.parametrize("normaliser", ["own", "NFC", "NFKC", "Lowercase", "unknown"])
def test_a_text_never_has_more_tokens_than_its_bound(normaliser, tiny_llava):
    processor = Llava().load_processor(str(tiny_llava))
    backend = processor.tokenizer.backend_tokenizer
    if normaliser == "unknown":
        backend.normalizer = normalizers.Replace("a", "aaaaaaaaaaaaaaaa")
    elif normaliser != "own":
        backend.normalizer = getattr(normalizers, normaliser)()
    vocabulary = Vocabulary(processor.tokenizer, ["<image>"])
    tight = 0
    for text in texts():
        for segment in ([Piece(text, False)], [Piece(" ", True), Piece(text, False), Piece("</s>", True)]):
            exact, bound = (
                len(vocabulary.ids(segment, opening=False)),
                vocabulary.most_tokens(segment, opening=False),
            )
            assert exact <= bound
            tight += exact == bound
    if normaliser == "unknown":
        assert tight == 120  # nothing is known but by tokenising


def test_a_record_never_has_more_tokens_than_its_bound(encoder):
    family, processor = Llava(), llava_processor(llama_3())
    others = [Encoder(processor, family, name, max_seq_len=4096) for name in ("llama_3", "llama-3.2-vision")]
    for made in (encoder, *others):
        for text in texts():
            one = record(f"<image>\n{text}q", text + "a", "b", history=("So " + text, text + "c"))
            fit = made.fit(one, [4])
            assert fit.prompt_len + max(fit.response_lens) <= made.upper_bound(one, [4])
