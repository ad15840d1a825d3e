"""What a step writes: of each token its text, advantage, KL and reward, in the place where they belong."""

import pytest
import torch

from tests.ppo.test_experience import config, rollout
from training.rewards import rollout_file
from training.rewards.rollout_file import Rollouts
from training.utils.data.pieces import token_pieces
from training.utils.data.record import Record, Turn
from training.utils.files import jsonl

TEXTS = ("a cat and a dog.", "zwei Bäume – 木", "line one\nline two  !", "a" * 30)


@pytest.mark.parametrize("text", TEXTS)
def test_the_pieces_of_a_response_are_its_text_and_its_end(encoder, text):
    ids = encoder.response_ids(text)
    *pieces, end = token_pieces(encoder.vocabulary, ids)
    assert len(pieces) == len(ids) - 1 and "".join(pieces).strip() == text
    assert end == encoder.tokenizer.convert_ids_to_tokens(ids[-1])
    assert any(piece.startswith(" ") for piece in pieces) or " " not in text


def test_tokens_sampled_at_random_have_a_piece_each(encoder):
    ids = torch.randint(0, len(encoder.tokenizer), (200,)).tolist()
    assert len(token_pieces(encoder.vocabulary, ids)) == 200
    cut = encoder.response_ids("木木")[:-2]  # within a character, if it is several tokens
    assert len(token_pieces(encoder.vocabulary, cut)) == len(cut)


def known(encoder, tmp_path):
    """A micro-batch of two prompts with two responses each; the numbers of its tokens tell their place."""
    (experience,) = rollout(1, 3, wrap=lambda batch: batch)
    ids = encoder.response_ids("a cat.")[0]
    number = 0
    for name, tree in zip("ab", experience.trees, strict=True):
        tree.id = name
        tree.record = Record(
            name, f"{tmp_path}/x.json[0]", (tmp_path / "p" / "1.png",), (Turn("user", "<image>\nWhat?"),)
        )
        for response in tree.responses:
            response.ids = [ids] * len(response.ids)
            number += len(response.ids)
    experience.advantages = torch.arange(number) + 0.12345
    experience.token_kl = -torch.arange(number) / 1000
    experience.rewards = torch.full((number,), float("nan"))
    return experience


def test_each_token_is_written_with_its_own_numbers(encoder, tmp_path):
    experience = known(encoder, tmp_path)
    Rollouts(config(output_dir=str(tmp_path), image_folder=str(tmp_path)), encoder, 0).write(7, [experience])
    lines = jsonl.read(tmp_path / "rollouts.jsonl")
    assert [(line["step"], line["id"], line["prompt"], line["images"]) for line in lines] == [
        (7, "a", "What?", ["p/1.png"]),
        (7, "b", "What?", ["p/1.png"]),
    ]
    tokens = [token for line in lines for token in line["tokens"]]
    lengths = [len(response.ids) for tree in experience.trees for response in tree.responses]
    assert [len(each["text"]) for each in tokens] == lengths
    count = range(sum(lengths))
    assert [value for each in tokens for value in each["advantage"]] == [round(n + 0.123, 3) for n in count]
    assert [value for each in tokens for value in each["kl"]] == [-n / 1000 for n in count]
    assert {value for each in tokens for value in each["reward"]} == {None}  # JSON has no NaN
    assert [line["kl"] for line in lines] == [pytest.approx(kl) for kl in experience.kl.view(2, 2).tolist()]


def test_the_scores_of_several_rewards_and_what_they_say_stand_with_their_responses(encoder, tmp_path):
    experience = known(encoder, tmp_path)
    experience.parts = {"judge": torch.arange(4.0), "length": -torch.arange(4.0)}
    long = "x" * 300 + "y" * 395 + "[[3]]"
    experience.said = {"judge": ["Bad. [[0]]", "", "[[2]]", long]}
    Rollouts(config(output_dir=str(tmp_path)), encoder, 0).write(1, [experience])
    first, second = jsonl.read(tmp_path / "rollouts.jsonl")
    assert first["parts"] == {"judge": [0.0, 1.0], "length": [0.0, -1.0]}
    assert second["parts"] == {"judge": [2.0, 3.0], "length": [-2.0, -3.0]}
    assert first["said"] == {"judge": ["Bad. [[0]]", ""]}
    assert second["said"] == {
        "judge": ["[[2]]", "... " + "y" * 395 + "[[3]]"]
    }  # its end, where the verdict is


def test_a_long_step_has_its_first_groups_token_by_token_and_all_its_texts(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(rollout_file, "MOST_TOKENS", 1)
    experience = known(encoder, tmp_path)
    Rollouts(config(output_dir=str(tmp_path)), encoder, 0).write(1, [experience, experience])
    lines = jsonl.read(tmp_path / "rollouts.jsonl")
    assert [("tokens" in line, len(line["responses"])) for line in lines] == [(True, 2)] + [(False, 2)] * 3
