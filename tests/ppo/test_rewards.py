"""Rewards of other kinds than a reward model that reads the policy's tokens."""

import base64
import io
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demo.model import TinyConfig, build_tiny_llava
from tests.conftest import RECORDS, SAMPLES, TINY_SHAPES
from tests.stages.conftest import log
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.rewards.rendering import rendered_reward
from training.rewards.reward import WeightedRewards, each
from training.rewards.weighted import endpoint_reward, function_reward
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import DataError
from training.utils.model.build_model import build_value_model
from training.utils.model.same_reading import reads_the_same
from training.utils.run.code import load_function


def num_characters(record, responses):
    assert record.turns[-1].role == "user"
    return [len(text) for text in responses]


def too_few(record, responses):
    return [1.0]


def no_number(record, responses):
    return [float("nan") for _ in responses]


def with_reasons(record, responses):
    return [(len(text), f"{len(text)} characters") if "a" in text else 0.5 for text in responses]


def half_a_pair(record, responses):
    return [(1.0, None) for _ in responses]


HERE = "tests.ppo.test_rewards"


@pytest.fixture
def trees(encoder):
    return [encoder.encode(record) for record in RECORDS]


@pytest.fixture
def batch(encoder, trees):
    return Collator(encoder, has_images=True)(trees)


def by_name(name, encoder):
    return function_reward(name, load_function("--reward_functions", name), encoder)


def test_a_function_scores_the_words_of_each_answer(encoder, trees, batch):
    scores = by_name(f"{HERE}:num_characters", encoder)(trees, batch)
    assert scores.tolist() == [len(text) for record in RECORDS for text in record.responses]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "no.such.module:f",
            "--reward_functions no.such.module:f: No module named 'no'; expected module:function",
        ),
        (f"{HERE}:nothing", "has no attribute 'nothing'; expected module:function"),
        (f"{HERE}:too_few", "found .*expected a finite number for each response"),
        (f"{HERE}:half_a_pair", "found .*None.*expected a finite number for each response"),
        (f"{HERE}:no_number", "found .*nan.*expected a finite number for each response"),
    ],
)
def test_a_wrong_function_is_told(name, message, encoder, trees, batch):
    with pytest.raises(DataError, match=message):
        by_name(name, encoder)(trees, batch)


def test_rewards_are_summed_with_their_weights_and_kept_apart(trees, batch):
    one, two = torch.arange(7.0), torch.full((7,), 10.0)
    rewards = WeightedRewards([each({"a": lambda *_: one, "b": lambda *_: two})], {"a": 2.0, "b": -0.5})
    total, parts, said = rewards(trees, batch)
    assert total.tolist() == [2 * i - 5 for i in range(7)]
    assert parts == {"a": one, "b": two} and said == {}


def test_a_reward_may_say_why(encoder, trees, batch):
    name, texts = f"{HERE}:with_reasons", [text for record in RECORDS for text in record.responses]
    both = each({name: by_name(name, encoder), "plain": by_name(f"{HERE}:num_characters", encoder)})
    total, parts, said = WeightedRewards([both], {name: 2.0})(trees, batch)
    expected = [len(text) if "a" in text else 0.5 for text in texts]
    assert parts[name].tolist() == expected and total.tolist() == [2 * score for score in expected]
    assert said == {name: [f"{len(text)} characters" if "a" in text else "" for text in texts]}


class Server:
    """Scores answers by their number of words; the first `failures` requests find it busy."""

    def __init__(self, failures=0, answer=None):
        self.asked, self.headers, server = [], [], self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append(body)
                server.headers.append(self.headers.get("Authorization"))
                is_busy = len(server.asked) <= failures
                self.send_response(503 if is_busy else 200)
                self.end_headers()
                scores = [[len(text.split()) for text in p["responses"]] for p in body["prompts"]]
                self.wfile.write(json.dumps(answer if answer is not None else {"scores": scores}).encode())

            def log_message(self, *args):
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/score"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def test_an_endpoint_that_is_busy_twice_is_asked_again(encoder, trees, batch, monkeypatch):
    monkeypatch.setenv("REWARD_API_KEY", "secret-7")
    server = Server(failures=2)
    scores = endpoint_reward(server.url, encoder, timeout_s=5, retries=3)(trees, batch)
    assert scores.tolist() == [len(text.split()) for record in RECORDS for text in record.responses]
    assert len(server.asked) == 3 and server.headers == ["Bearer secret-7"] * 3
    first = server.asked[-1]["prompts"][0]
    assert first["turns"] == [{"role": "user", "text": "<image>\nWhat is this?"}]


def test_an_endpoint_may_say_why(encoder, trees, batch):
    pairs = [[[len(text), f"{number}"] for number, text in enumerate(r.responses)] for r in RECORDS]
    server = Server(answer={"scores": pairs})
    scores, said = endpoint_reward(server.url, encoder, timeout_s=5, retries=0)(trees, batch)
    assert scores.tolist() == [len(text) for record in RECORDS for text in record.responses]
    assert said == [f"{number}" for record in RECORDS for number in range(len(record.responses))]


def test_an_endpoint_gets_every_picture_wherever_it_lives(encoder, trees, batch, tmp_path):
    """Of a file its path; else an address that holds it, of which the server reads the same pixels."""
    server, file = Server(), tmp_path / "a.png"
    drawn = Image.new("RGB", (4, 3), "red")
    drawn.save(file)
    seen = replace(trees[0].record, images=(file, file.read_bytes(), drawn), system="Be brief.", label="red")
    endpoint_reward(server.url, encoder, timeout_s=5, retries=0)([replace(trees[0], record=seen)], batch)
    asked = server.asked[0]["prompts"][0]
    assert (asked["system"], asked["label"], asked["images"][0]) == ("Be brief.", "red", str(file))
    for address in asked["images"][1:]:
        kind, content = address.split(";base64,")
        assert kind == "data:image/png"
        assert list(Image.open(io.BytesIO(base64.b64decode(content))).getdata()) == [(255, 0, 0)] * 12


def test_an_endpoint_that_stays_away_or_errs_ends_the_run_without_its_key(encoder, trees, batch, monkeypatch):
    monkeypatch.setenv("REWARD_API_KEY", "secret-7")
    server = Server(answer={"scores": [[1.0]]})
    with pytest.raises(DataError, match=r"found \[\[1.0\]\]; expected a finite number for each response"):
        endpoint_reward(server.url, encoder, timeout_s=5, retries=0)(trees, batch)
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(DataError, match="after 1 retries; is it up") as error:
        endpoint_reward(server.url, encoder, timeout_s=1, retries=1)(trees, batch)
    assert "secret" not in str(error.value)
    with pytest.raises(DataError, match="expected http"):
        endpoint_reward("http://user:secret-7@host/x", encoder, timeout_s=1, retries=0)


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A reward model with another vocabulary and another picture size than the policy's."""
    folder = tmp_path_factory.mktemp("foreign") / "llava"
    config = TinyConfig(output=str(folder), texts=str(SAMPLES), picture_px=48, vocab_size=300, **TINY_SHAPES)
    build_tiny_llava(config)
    head = torch.randn(1, 48, generator=torch.Generator().manual_seed(0))
    save_file({"weight": head}, folder / "value_head.safetensors")
    return folder


def settings_of(model):
    return PPOConfig(
        from_checkpoint=str(model),
        data_path="x",
        output_dir="x",
        reward_functions=["x:y"],
        critic_init="policy",
    )


def test_a_reward_model_of_another_tokenizer_reads_the_words_as_its_own(encoder, trees, batch, foreign):
    """The same scores as for the records encoded by the reward model's own encoder; a cut answer stays cut."""
    own = Encoder(encoder.family.load_processor(str(foreign)), encoder.family, "vicuna", max_seq_len=512)
    assert reads_the_same(encoder, encoder) and not reads_the_same(encoder, own)
    model = build_value_model(settings_of(foreign), foreign, encoder.family, trainable=False, needs_head=True)
    expected_batch = Collator(own, has_images=True)([own.encode(record) for record in RECORDS])
    reward = rendered_reward(model, own, encoder, has_images=True)
    with torch.no_grad():
        expected = model(expected_batch, expected_batch.last_token)
        torch.testing.assert_close(reward(trees, batch), expected)
        ids = trees[0].responses[0].ids
        cut = [replace(trees[0], responses=[replace(trees[0].responses[0], ids=ids[:-1], ended=False)])]
        assert not torch.isclose(reward(cut, batch)[0], expected[0])


def test_ppo_learns_from_two_rewards_of_which_one_is_foreign(tiny_llava, foreign, tmp_path):
    ppo = {"reward_model_ckpt_path": [str(foreign)], "reward_functions": [f"{HERE}:num_characters"]}
    ppo |= {"reward_weights": [0.0, 1.0], "critic_init": "policy", "num_generations": 4, "max_steps": 20}
    ppo |= {"max_generation_length_of_sampling": 4, "actor_learning_rate": 1e-2, "critic_learning_rate": 1e-3}
    train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path, **ppo)))
    lines = log(tmp_path)
    assert lines[-1]["reward"] == lines[-1][f"reward {HERE}:num_characters"]
    assert lines[-1][f"reward {foreign}"] != lines[-1]["reward"]
    assert lines[-1]["reward"] > lines[0]["reward"] + 2


def test_a_critic_can_not_start_from_a_foreign_reward_model(tiny_llava, foreign, tmp_path):
    more = {"reward_model_ckpt_path": [str(foreign)]}
    with pytest.raises(DataError, match="no critic can start from it; use --critic_init policy"):
        train_ppo(PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path, **more)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "--reward_model_ckpt_path: missing"),
        ({"reward_functions": ["a:b"]}, "--critic_init reward: there is no reward model"),
        (
            {"reward_model_ckpt_path": ["a"], "reward_weights": [1.0, 2.0]},
            "--reward_weights: found 2, expected 1",
        ),
        (
            {"reward_model_ckpt_path": ["a"], "dynamic_sampling": 1},
            "--dynamic_sampling: needs --num_generations",
        ),
    ],
)
def test_rewards_that_do_not_fit_are_told_at_once(more, message, tiny_llava, tmp_path):
    with pytest.raises(ConfigError, match=message):
        PPOConfig(**settings(tiny_llava, "ppo.json", tmp_path, **more))
