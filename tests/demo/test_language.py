"""The tiny language model reads scenes that are written in words, as the stages will read pictures."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from demo import language
from demo.imagined import imagined, overlap
from demo.language import LanguageConfig, Page, open_page
from demo.model import TinyConfig, build_tiny_llava
from demo.questions import Asked
from demo.world import read_world
from training.utils.data.record import Record, Turn

SIDE = 3  # places of 16 pixels in 48


@pytest.fixture(scope="module")
def random_llava(folder, tmp_path_factory) -> str:
    output = str(tmp_path_factory.mktemp("language") / "random")
    sizes = dict(picture_px=48, resnet_width=4, hidden_size=48, num_layers=1)
    build_tiny_llava(TinyConfig(output=output, texts=str(folder), **sizes))
    return output


@pytest.fixture(scope="module")
def page(folder, random_llava) -> Page:
    return open_page(random_llava, read_world(folder).names)


def test_how_much_of_each_row_lies_between_two_edges():
    assert overlap(0.25, 0.75, 4) == pytest.approx([0, 1, 1, 0])
    assert overlap(0.1, 0.5, 5) == pytest.approx([0.5, 1, 0.5, 0, 0])


def test_places_show_the_things_of_the_scene_and_no_others(folder):
    world = read_world(folder)
    rng = random.Random(0)
    for _ in range(50):
        scene, classes = imagined(world, SIDE, rng)
        assert {world.names[number - 1] for number in classes if number} == set(scene.counts)
        for thing in scene.things:
            left, top, right, bottom = thing.box
            assert 0 <= left < right <= 1 and 0 <= top < bottom <= 1


def test_a_place_says_the_image_token_and_the_name_that_it_shows(page):
    table = page.model.get_input_embeddings().weight
    said = page.said()
    assert torch.equal(said[0], table[page.encoder.image_id])
    for number, name in enumerate(read_names(page), 1):
        ids = page.encoder.tokenizer(f" {name}", add_special_tokens=False).input_ids
        word = sum(table[token] for token in ids) / len(ids)
        assert torch.allclose(said[number], table[page.encoder.image_id] + word)


def read_names(page: Page) -> list[str]:
    return [page.encoder.tokenizer.decode(ids).strip() for ids in page.name_ids]


def test_a_row_is_what_the_stages_read_of_such_a_record(page):
    asked = [Asked("Is there a dog in the image?", "Yes."), Asked("How many dogs are in the image?", "Two.")]
    row = page.row(asked, np.zeros(SIDE * SIDE, dtype=int))
    turns = (
        Turn("user", f"<image>\n{asked[0].text}"),
        Turn("assistant", "Yes."),
        Turn("user", asked[1].text),
    )
    picture = Image.new("RGB", (48, 48))
    tree = page.encoder.encode(Record("a", "here", (picture,), turns, ("Two.",)))
    assert row.ids.tolist() == tree.prompt_ids + tree.responses[0].ids
    assert row.learned.tolist() == tree.prompt_learned + [True] * len(tree.responses[0].ids)


def test_the_loss_is_that_of_the_answers_alone_with_places_in_their_rows(page, monkeypatch):
    """Against the logits of whole rows, one after the other, without the noise."""
    monkeypatch.setattr(language, "NOISE", 0.0)
    classes = np.arange(SIDE * SIDE) % 3
    rows = [
        page.row([Asked("Is there a dog in the image?", "Yes.")], classes),
        page.row(
            [Asked("How many dogs are in the image?", "Two."), Asked("What?", "a cat.")], classes[::-1].copy()
        ),
    ]
    with torch.no_grad():
        loss, tokens = page.loss(rows)
        total = 0.0
        for row in rows:
            embedded = page.model.get_input_embeddings()(row.ids).clone()
            places = (row.ids == page.encoder.image_id).nonzero()[:, 0]
            for place, shows in zip(places, row.classes, strict=True):
                embedded[place] = page.said()[shows]
            logits = page.model.lm_head(
                page.model.model.language_model(inputs_embeds=embedded[None]).last_hidden_state
            )[0]
            for at in row.learned.nonzero()[:, 0]:
                total -= logits[at - 1].log_softmax(-1)[row.ids[at]].item()
    assert tokens == sum(row.learned.sum().item() for row in rows)
    assert loss.item() == pytest.approx(total, rel=1e-4)


def test_an_answer_is_right_if_each_of_its_tokens_is(page, monkeypatch):
    asked = [Asked(f"Is there a {name} in the image?", "Yes.") for name in ("dog", "cat", "car")]
    row = page.row(asked, np.zeros(SIDE * SIDE, dtype=int))
    answers = row.ids[row.learned]
    assert len(answers) % 3 == 0
    logits = torch.nn.functional.one_hot(answers, 400).float()
    logits[len(answers) // 3] *= -1  # the first token of the second answer
    monkeypatch.setattr(page, "logits", lambda rows, noise: (logits, answers))
    assert page.right(row) == [True, False, True]


def test_who_does_not_look_for_what_is_asked_reads_once_more(
    folder, random_llava, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(language, "EXAMINED", 3)
    for share, cycles in ((0.0, 1), (1.1, 2)):
        monkeypatch.setattr(language, "READS", share)
        language.main(LanguageConfig(random_llava, str(folder), str(tmp_path / f"{cycles}"), 2, 1, 1))
        told = capsys.readouterr().out
        assert told.count("step 2 of 2") == told.count("about 3 new scenes") == cycles


def test_it_learns_and_the_same_seed_learns_the_same(folder, random_llava, tmp_path, capsys):
    for name in ("one", "other"):
        torch.manual_seed(len(name))  # whatever was drawn before
        language.main(LanguageConfig(random_llava, str(folder), str(tmp_path / name), 50, 4, 2))
    before = load_file(f"{random_llava}/model.safetensors")
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "other"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    moved = {name for name, tensor in one.items() if not torch.equal(tensor, before[name])}
    assert moved and not any("vision" in name or "projector" in name for name in moved)
    loss = float(capsys.readouterr().out.split("loss ")[1].split()[0])
    assert loss < 3.5  # of more than 300 tokens: at random 5.7 at least


def test_captions_alone_can_be_read(folder, random_llava, tmp_path):
    language.main(LanguageConfig(random_llava, str(folder), str(tmp_path / "read"), 2, 2, 0))
    assert (tmp_path / "read" / "config.json").is_file()
