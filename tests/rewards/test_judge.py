"""A judge as a reward, behind a real server: what it is asked, what is made of its replies, and when a run ends."""

import base64
import io
import logging
import time
from dataclasses import replace
from statistics import fmean

import pytest
from PIL import Image

from tests.conftest import SAMPLES, picture, record
from tests.rewards.judge_server import JudgeServer
from tests.stages.conftest import log
from tests.stages.test_variants import settings
from training.ppo.train_ppo import main as train_ppo
from training.rewards.functions import try_rewards
from training.rewards.judge import judge, rating
from training.rewards.weighted import text_rewards
from training.utils.config.flags import ConfigError
from training.utils.config.ppo_config import PPOConfig
from training.utils.data.record import DataError, Turn
from training.utils.files import jsonl
from training.utils.http import CONNECTIONS

KEY = "REWARD_API_KEY"


@pytest.fixture
def serve():
    servers = []

    def start(says) -> JudgeServer:
        servers.append(JudgeServer(says))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def asks(tmp_path):
    """The flag of a prompt of one's own."""

    def write(text: str) -> dict[str, str]:
        (tmp_path / "prompt.txt").write_text(text)
        return {"reward_judge_prompt": str(tmp_path / "prompt.txt")}

    return write


def config(url="chat+http://h/v1", **more) -> PPOConfig:
    given = {"from_checkpoint": "a", "data_path": "b", "output_dir": "c", "critic_init": "policy"}
    given |= {"reward_endpoints": [url], "reward_judge_model": "m", "reward_retries": 0}
    return PPOConfig(**given | more)


def rate(server, asked, **more):
    found = judge(server.url, KEY, config(server.url, **more))(asked)
    return [[score for score, _ in of_prompt] for of_prompt in found]


def by_length(text):
    """Rates the answer in the project's own prompt by its letters."""
    answer = text.partition("\nAnswer:\n")[2].partition("\n\n")[0]
    return f"<think>[[0]] or [[9]]?</think>Fine.\n[[{len(answer)}]]"


def test_each_answer_is_rated_with_its_question_and_pictures_wherever_they_live(serve, tmp_path, monkeypatch):
    monkeypatch.setenv(KEY, "secret-7")
    server, file = serve(by_length), tmp_path / "a.png"
    picture(1).save(file)
    seen = replace(record(), images=(file, file.read_bytes(), picture(2)))
    turns = (Turn("user", "<image>\nHi"), Turn("assistant", "Yes?"), Turn("user", "$x {}"))
    talked = replace(record(), images=(), turns=turns)
    found = rate(server, [(seen, ["abc", "a"]), (talked, ["$answer"])], reward_judge_settings=["top_p=0.5"])
    assert found == [[3.0, 1.0], [7.0]]
    by_answer = {asked.text.partition("\nAnswer:\n")[2].partition("\n\n")[0]: asked for asked in server.asked}
    assert "Question:\nWhat is this?\n\nAnswer:\nabc\n" in by_answer["abc"].text  # no marker of its pictures
    assert "Question:\nUSER: Hi\n\nASSISTANT: Yes?\n\nUSER: $x {}\n\nAnswer:\n" in by_answer["$answer"].text
    assert by_answer["$answer"].pictures == [] and by_answer["a"].pictures == by_answer["abc"].pictures
    of_file, of_bytes, of_drawn = by_answer["a"].pictures
    assert of_file == of_bytes == f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    drawn = Image.open(io.BytesIO(base64.b64decode(of_drawn.partition(",")[2])))
    assert drawn.tobytes() == picture(2).tobytes()
    assert {asked.key for asked in server.asked} == {"Bearer secret-7"}
    assert [asked.settings for asked in server.asked] == [{"model": "m", "top_p": 0.5}] * 3
    rate(server, [(seen, ["ab"])], reward_judge_images=False)
    assert server.asked[-1].pictures == []
    assert server.asked[-1].settings == {"model": "m", "temperature": 0, "max_tokens": 1024}


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ("Good. [[7]]", 7),
        ("[[ 7.5 ]]", 7.5),
        ("[[7]], as I said: [[7.0]]", 7),
        ("<think>[[2]]</think> [[8]]", 8),
        ("[[-3]]", None),
        ("[[11]]", None),
        ("It asks for [[10]], and gets [[1]]", None),
        ("7", None),
        ("[[7/10]]", None),
        ("[[nan]]", None),
        ("", None),
    ],
)
def test_a_rating_is_one_number_on_the_scale(reply, expected):
    assert rating(reply, 0, 10) == expected


def test_answers_without_a_rating_count_as_the_worst_and_are_told(serve, asks, caplog):
    """What a server refuses (400), may not let pass (403) or says without a number; the others are rated."""
    said = {"a": (400, "too long"), "b": (403, "moderated"), "c": "No number.", "d": "[[5]]", "e": "[[-2]]"}
    server = serve(lambda text: said[text[-1]])
    caplog.set_level(logging.WARNING)
    more = asks("$question $answer") | {"reward_judge_scale": [-4.0, 6.0]}
    assert rate(server, [(record(), list("ab")), (record(), list("cdde"))], **more) == [
        [-4, -4],
        [-4, 5, 5, -2],
    ]
    assert "3 of 6 answers got no rating and count as -4; the last: it says 'No number.'" in caplog.text


def test_what_it_says_is_told_behind_its_thoughts_and_why_it_says_nothing(serve):
    said = {"a": "<think>[[1]]</think>\nFine. [[8]]", "b": "Hm.", "c": (400, "too long"), "d": ""}
    server = serve(lambda text: said[text.partition("\nAnswer:\n")[2][0]])
    ((a, b, c, d),) = judge(server.url, KEY, config(server.url))([(record(), list("abcd"))])
    assert (a, b, d) == ((8.0, "Fine. [[8]]"), (0.0, "Hm."), (0.0, "(no words)"))
    assert c[0] == 0.0 and "status 400" in c[1] and "too long" in c[1]


def test_a_judge_that_rates_less_than_half_ends_the_run(serve):
    server = serve(lambda text: "[[5]]" if "Answer:\na" in text else "It is good.")
    reward = judge(server.url, KEY, config(server.url))
    assert reward([(record(), ["a"] * 4 + ["b"] * 4)]) == [[(5.0, "[[5]]")] * 4 + [(0.0, "It is good.")] * 4]
    with pytest.raises(
        DataError, match=r"60% of the last 10 replies hold no rating .* it says 'It is good\.'"
    ):
        reward([(record(), ["b"] * 2)])


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "status 401: no"),
        (404, "status 404: no"),
        (503, "status 503: no"),
        (403, "10 questions in a row"),
    ],
)
def test_a_server_that_does_not_answer_ends_the_run_and_gives_no_ratings(status, message, serve):
    server = serve(lambda text: (status, "no"))
    with pytest.raises(DataError, match=message):
        rate(server, [(record(), ["a"] * (12 if status == 403 else 4))])


def test_answers_are_judged_as_many_at_a_time_as_is_said(serve):
    def slow(text):
        time.sleep(0.2)
        return "[[5]]"

    server, started = serve(slow), time.monotonic()
    assert rate(server, [(record(), ["a"] * 16)], reward_judge_concurrency=16) == [[5.0] * 16]
    assert time.monotonic() - started < 1.6  # one after the other 3.2


def test_a_prompt_of_ones_own_may_show_the_label(serve, asks):
    server, labelled = serve(lambda text: "[[1]]"), replace(record(), label="7 $5")
    more = asks("Costs $$3. Q $question A $answer L ${label}")
    rate(server, [(labelled, ["x"])], **more)
    assert server.asked[0].text == "Costs $3. Q What is this? A x L 7 $5"
    try_rewards(config(**more), [labelled])
    with pytest.raises(DataError, match=r"test\[0\] .*: has no label"):
        try_rewards(config(**more), [labelled] * 9 + [record()])


@pytest.mark.parametrize(
    "text", ["$question", "$question $answer $picture", "$question $answer $", b"\xff\xfe", None]
)
def test_a_prompt_that_is_none_is_told_before_a_model_is_loaded(text, tmp_path):
    file = tmp_path / "prompt.txt"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DataError, match="--reward_judge_prompt .*prompt.txt: .*expected"):
        try_rewards(config(reward_judge_prompt=str(file)), [record()])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reward_judge_model": ""}, r"--reward_judge_model: missing; .* chat\+http://h/v1 serves"),
        ({"reward_endpoints": ["http://h/v1"]}, "--reward_judge_model m: nobody is asked"),
        ({"reward_judge_scale": [5.0, 5.0]}, "--reward_judge_scale 5.0 5.0: expected the worst and the best"),
        ({"reward_judge_scale": [5.0]}, "--reward_judge_scale 5.0: expected"),
        ({"reward_judge_concurrency": 0}, "--reward_judge_concurrency 0: expected 1 to 64"),
        ({"reward_judge_concurrency": CONNECTIONS + 1}, f"expected 1 to {CONNECTIONS}"),
        ({"reward_judge_settings": ["temperature"]}, "--reward_judge_settings temperature: expected NAME=VALUE"),
        ({"reward_judge_settings": ["effort=low"]}, "--reward_judge_settings effort=low: expected NAME=VALUE"),
        ({"reward_judge_settings": ['model="x"']}, "the model and the messages are not set here"),
    ],
)  # fmt: skip
def test_flags_that_do_not_fit_are_told(more, message):
    with pytest.raises(ConfigError, match=message):
        config(**more)


def test_it_stands_beside_other_endpoints_under_its_address(encoder):
    given = config(reward_endpoints=["http://h/score", "chat+http://h/v1"])
    assert [*text_rewards(given, encoder)] == ["http://h/score", "chat+http://h/v1"]


def test_a_run_of_grpo_is_rewarded_as_the_judge_rates(serve, tiny_llava, tmp_path):
    server = serve(lambda text: f"[[{sum(map(ord, text)) % 11}]]")
    run = {"reward_endpoints": [server.url], "reward_judge_model": "m", "advantage_estimator": "grpo"}
    run |= {
        "num_generations": 4,
        "max_generation_length_of_sampling": 4,
        "dataset_samples": "4",
        "max_steps": 2,
    }
    train_ppo(PPOConfig(**settings(tiny_llava, SAMPLES / "ppo.json", tmp_path, **run)))
    lines = log(tmp_path)
    for step, line in enumerate(lines):
        asked = server.asked[32 * step : 32 * step + 32]
        assert line["reward"] == pytest.approx(fmean(sum(map(ord, each.text)) % 11 for each in asked))
        assert line["reward_std"] > 0 and all(len(each.pictures) == 1 for each in asked)
    assert len(server.asked) == 64
    groups = jsonl.read(tmp_path / "rollouts.jsonl")
    for group in groups:
        assert group["said"] == {server.url: [f"[[{score:g}]]" for score in group["scores"]]}
    assert len(groups) == 16 and "parts" not in groups[0]
