"""Replies of a judge on disk."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from eval.judges import EndpointConfig
from eval.stored_replies import cached, replay
from training.utils.files import jsonl


def test_the_same_question_asked_twice_at_a_time_has_one_reply(tmp_path):
    """As of two samples with the same words: a judge with a temperature may reply otherwise, a replay can not."""
    both, numbers = threading.Barrier(2), count()

    def ask(_):
        both.wait(10)
        return f"reply {next(numbers)}"

    hello = [{"role": "user", "content": "hello"}]
    asked = cached(ask, tmp_path / "replies.jsonl", EndpointConfig(judge_model="m"))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(asked, [hello, hello])
    assert first == second
    assert [line["reply"] for line in jsonl.read(tmp_path / "replies.jsonl")] == [first]
    assert replay(tmp_path / "replies.jsonl")[1](hello) == first
