"""The judge as a real server in a thread: refusals, time-outs, the cache, and where the key goes."""

import json
import logging
import os
import time
import traceback

import pytest

from eval.judges import EndpointConfig, endpoint
from eval.stored_replies import cached, replay
from tests.eval.judge_server import KEY, Handler
from training.utils.chat.client import replies
from training.utils.data.record import DataError

HELLO = [{"role": "user", "content": "hello"}]


def config(server, **others):
    defaults = {
        "judge_model": "m",
        "judge_backoff_s": 0.01,
        "judge_requests_per_minute": 0,
        "judge_retries": 3,
    }
    return EndpointConfig(judge_url=server.url, **defaults | others)


def test_a_request_is_what_an_openai_endpoint_expects(serve):
    server = serve((200, "good", 0))
    assert endpoint(config(server, judge_temperature=0.2, judge_max_tokens=7))(HELLO) == "good"
    body = {"model": "m", "messages": HELLO, "temperature": 0.2, "max_tokens": 7}
    assert server.requests == [("/v1/chat/completions", f"Bearer {KEY}", body)]


def test_two_failures_are_asked_again(serve):
    server = serve((503, "busy", 0), (429, "too many", 0), (200, "good", 0))
    assert endpoint(config(server))(HELLO) == "good"
    assert len(server.requests) == 3


def test_a_time_out_is_asked_again_and_told_at_last(serve):
    slow, then_fast = serve((200, "late", 0.5)), serve((200, "late", 0.5), (200, "good", 0))
    assert endpoint(config(then_fast, judge_timeout_s=0.1))(HELLO) == "good"
    with pytest.raises(
        DataError, match=r"/v1/chat/completions: .* after 1 retries; is it up, and are 0.1 s enough"
    ):
        endpoint(config(slow, judge_timeout_s=0.1, judge_retries=1))(HELLO)
    assert len(slow.requests) == 2


@pytest.mark.parametrize(("status", "requests"), [(400, 1), (401, 1), (500, 4)])
def test_a_refusal_is_told_and_only_a_passing_one_is_asked_again(serve, status, requests):
    server = serve((status, "no such model", 0))
    with pytest.raises(DataError, match=f"status {status}: no such model"):
        endpoint(config(server))(HELLO)
    assert len(server.requests) == requests


def test_the_key_follows_no_redirect(serve):
    server = serve((307, "", 0))
    with pytest.raises(DataError, match="status 307"):
        endpoint(config(server))(HELLO)
    assert [path for path, _, _ in server.requests] == ["/v1/chat/completions"]


def test_a_netrc_does_not_take_the_place_of_the_key(serve, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    server = serve((200, "good", 0))
    endpoint(config(server))(HELLO)
    assert server.requests[0][1] == f"Bearer {KEY}"


@pytest.mark.parametrize("answer", [(401, f"wrong key {KEY}", 0), (503, KEY, 0), (200, "late", 0.3)])
def test_the_key_is_in_no_message_and_no_log(serve, answer, caplog, tmp_path):
    caplog.set_level(logging.DEBUG)
    settings = config(serve(answer), judge_timeout_s=0.1, judge_retries=1)
    with pytest.raises(DataError) as error:
        cached(endpoint(settings), tmp_path / "cache.jsonl", settings)(HELLO)
    shown = "".join(traceback.format_exception(error.value)) + repr(error.value.__context__)
    assert "chat/completions" in shown and caplog.records  # the connection pool did log
    assert KEY not in shown and KEY not in caplog.text and KEY not in repr(settings)
    assert not any(KEY in file.read_text() for file in tmp_path.iterdir())


@pytest.mark.parametrize("key", ["bad\nkey", "schlüssel-☂"])
def test_a_key_that_is_no_header_is_told_without_it(serve, monkeypatch, key):
    monkeypatch.setenv("JUDGE_API_KEY", key)
    with pytest.raises(DataError, match="JUDGE_API_KEY: holds what no header can") as error:
        endpoint(config(serve((200, "good", 0))))
    assert key not in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize("url", [f"http://me:{KEY}@host/v1", f"https://host/v1?key={KEY}", "host:80", ""])
def test_an_address_with_a_key_in_it_is_refused_without_being_repeated(url):
    with pytest.raises(DataError, match="--judge_url") as error:
        endpoint(EndpointConfig(judge_url=url, judge_model="m"))
    assert KEY not in str(error.value)


@pytest.mark.parametrize(
    "answer", ["{}", "no json", '{"choices": []}', '{"choices": [{"message": {"content": null}}]}']
)
def test_an_answer_without_a_reply_is_an_error_and_is_not_kept(serve, answer, tmp_path):
    server = serve((200, "", 0))
    server.RequestHandlerClass = type("Raw", (Handler,), {"do_POST": lambda self: raw(self, answer)})
    settings = config(server)
    with pytest.raises(DataError, match=r"no choices\[0\]|its answer is no JSON"):
        cached(endpoint(settings), tmp_path / "cache.jsonl", settings)(HELLO)
    assert not (tmp_path / "cache.jsonl").exists()


def raw(handler, answer):
    handler.rfile.read(int(handler.headers["Content-Length"]))
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(answer.encode())


def test_no_more_requests_than_the_rate_allows(serve):
    server = serve((200, "good", 0))
    ask = endpoint(config(server, judge_requests_per_minute=600))  # one each 0.1 s
    started = time.monotonic()
    for _ in range(4):
        ask(HELLO)
    assert time.monotonic() - started >= 0.3


def test_what_was_asked_once_is_not_asked_again_unless_something_differs(serve, tmp_path):
    server, file = serve((200, "good", 0)), tmp_path / "deep" / "cache.jsonl"

    def ask(messages, **others):
        settings = config(server, **others)
        return cached(endpoint(settings), file, settings)(messages)

    assert ask(HELLO) == ask(HELLO) == "good" and len(server.requests) == 1
    ask([{"role": "user", "content": "hello!"}])
    ask(HELLO, judge_model="other")
    ask(HELLO, judge_temperature=1.0)
    assert len(server.requests) == 4
    ask(HELLO, judge_timeout_s=9.0)  # the reply does not depend on it
    assert len(server.requests) == 4


def test_a_cache_whose_last_line_was_cut_off_goes_on(serve, tmp_path):
    server, file = serve((200, "good", 0)), tmp_path / "cache.jsonl"
    settings = config(server)
    cached(endpoint(settings), file, settings)(HELLO)
    whole = file.read_text()
    file.write_text(whole + whole[:40])
    ask = cached(endpoint(settings), file, settings)
    assert ask(HELLO) == "good" and len(server.requests) == 1
    ask([{"role": "user", "content": "next"}])
    assert [json.loads(line)["messages"][0]["content"] for line in file.read_text().splitlines()] == [
        "hello",
        "next",
    ]


def test_replies_replay_without_the_endpoint_and_only_to_the_same_messages(serve, tmp_path):
    server, file = serve((200, "good", 0)), tmp_path / "cache.jsonl"
    settings = config(server)
    cached(endpoint(settings), file, settings)(HELLO)
    server.script[:] = [(500, "gone", 0)]
    name, ask = replay(file)
    assert (name, ask(HELLO)) == ("m", "good")
    with pytest.raises(DataError, match="no reply to the messages that end in 'other'"):
        ask([{"role": "user", "content": "other"}])


def test_replies_of_two_judges_or_two_to_the_same_are_not_mixed(tmp_path):
    file = tmp_path / "replies.jsonl"

    def write(*lines):
        text = (json.dumps({"model": m, "messages": HELLO, "reply": r}) + os.linesep for m, r in lines)
        file.write_text("".join(text))

    write(("a", "x"), ("b", "y"))
    with pytest.raises(DataError, match="replies of a, b; expected those of one"):
        replay(file)
    assert replay(file, "b")[1](HELLO) == "y"
    with pytest.raises(DataError, match="no replies of c"):
        replay(file, "c")
    write(("a", "x"), ("a", "y"))
    with pytest.raises(DataError, match="two replies of a"):
        replay(file)


def test_a_hundred_questions_are_asked_eight_at_a_time_and_answered_in_order(serve):
    """100 replies of 0.2 s by 8 take 2.6 s; one after the other 20."""
    server = serve((200, "good", 0.2))
    running, most = [], []

    class Counting(Handler):
        def do_POST(self):
            running.append(1)
            most.append(len(running))
            super().do_POST()
            running.pop()

    server.RequestHandlerClass = Counting
    ask = endpoint(config(server))
    echo = lambda messages: ask(messages) + messages[0]["content"]  # noqa: E731
    started = time.monotonic()
    said = replies(echo, [[{"role": "user", "content": str(n)}] for n in range(100)])
    assert time.monotonic() - started < 5
    assert [reply.text for reply in said] == [f"good{n}" for n in range(100)]
    assert max(most) == 8


@pytest.mark.parametrize("status", [400, 403])
def test_a_question_that_the_judge_refuses_is_a_failure_of_its_own_and_replays_as_one(
    status, serve, tmp_path
):
    server, file = (
        serve((200, "good", 0), (status, "too long", 0), (200, "good", 0)),
        tmp_path / "cache.jsonl",
    )
    settings = config(server, judge_concurrency=1)
    asked = [[{"role": "user", "content": name}] for name in "abc"]
    said = replies(cached(endpoint(settings), file, settings), asked)
    assert sorted(reply.text for reply in said) == ["", "good", "good"] and len(server.requests) == 3
    (failure,) = [reply.failure for reply in said if reply.failure]
    assert f"status {status}: too long" in failure
    assert replies(replay(file)[1], asked) == said
    assert len(replies(cached(endpoint(settings), file, settings), asked)) == 3
    assert len(server.requests) == 4  # what was refused is asked again
    assert [reply.failure for reply in replies(replay(file)[1], asked)] == ["", "", ""]


@pytest.mark.parametrize(("status", "requests"), [(401, (1, 16)), (403, (10, 18)), (503, (10, 36))])
def test_an_endpoint_that_answers_nobody_ends_the_run_and_not_each_question(serve, status, requests):
    server = serve((status, "no", 0))
    with pytest.raises(DataError, match=f"status {status}"):
        replies(endpoint(config(server, judge_retries=1)), [HELLO] * 200)
    assert requests[0] <= len(server.requests) <= requests[1]


def test_a_malformed_reply_is_asked_again(serve):
    server = serve((200, "", 0))
    answers = ["<html>", '{"choices": []}', json.dumps({"choices": [{"message": {"content": "good"}}]})]
    server.RequestHandlerClass = type("Raw", (Handler,), {"do_POST": lambda self: raw(self, answers.pop(0))})
    assert endpoint(config(server))(HELLO) == "good" and not answers


def test_a_reply_in_parts_is_read(serve):
    server = serve((200, "", 0))
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "so "}, {"text": "good"}]
    answer = json.dumps({"choices": [{"message": {"content": parts}}]})
    server.RequestHandlerClass = type("Raw", (Handler,), {"do_POST": lambda self: raw(self, answer)})
    assert endpoint(config(server))(HELLO) == "so good"


def test_settings_are_left_out_or_go_by_another_name(serve):
    server = serve((200, "good", 0))
    settings = config(
        server, judge_leave_out=["temperature"], judge_rename=["max_tokens=max_completion_tokens"]
    )
    endpoint(settings)(HELLO)
    assert server.requests[0][2] == {"model": "m", "messages": HELLO, "max_completion_tokens": 1024}
    for wrong in ({"judge_leave_out": ["top_p"]}, {"judge_rename": ["max_tokens"]}):
        with pytest.raises(DataError, match="expected (NAME=NEW, with )?temperature or max_tokens"):
            endpoint(config(server, **wrong))
    with pytest.raises(DataError, match="--judge_concurrency 0: expected 1 to"):
        endpoint(config(server, judge_concurrency=0))
