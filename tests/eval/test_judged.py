"""Judged benchmarks against figures worked by hand, with replies made by hand."""

import json
from dataclasses import replace

import pytest

from eval import judge
from eval.benches import llava_bench, mmhal, win_rate
from eval.benches.question import Question
from eval.judges import EndpointConfig
from training.utils.data.record import DataError
from training.utils.http import Refused

MMHAL_PROMPT = "objects {}; question {}; person {}; model {}"
RULES = {"conv": {"role": "Helper", "prompt": "rate"}, "detail": {"role": "Helper", "prompt": "rate"}}


def says(replies):
    """A judge that replies by what the messages end in or hold: the answers are names of replies."""
    return lambda messages: next(r for name, r in replies.items() if f"<{name}>" in messages[-1]["content"])


def predictions(*names):
    return [{"id": str(number), "response": f"<{name}>"} for number, name in enumerate(names)]


def given(*names):
    """The same, as answers by the question's id."""
    return {line["id"]: [line["response"]] for line in predictions(*names)}


MMHAL = {"image_content": ["cat", "mat"], "question": "what {is} it?", "gt_answer": "a {} cat"}


def mmhal_questions(*types):
    return [Question(str(n), MMHAL["question"], (), MMHAL, kind) for n, kind in enumerate(types)]


# --- MMHal-Bench


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("Fine.\nRating: 4, somewhat informative", 4),
        ("RATING: 0", 0),
        ("Rating: **4**", None),  # the official script does not find it
        ("Rating:4", None),
        ("Rating: 7", None),
        ("Rating: 3 or rating: 5", None),
        ("Rating: 3. As I said, rating: 3", 3),
        ("Rating: 10", 1),  # as the official script reads it
        ("", None),
    ],
)
def test_how_a_rating_is_read(reply, rating):
    assert mmhal.parse(reply) == rating


REPLIES = {"six": "Rating: 6", "three": "Rating: 3", "two": "Rating: 2", "bold": "Rating: **4**"}


def test_mmhal_worked_by_hand():
    """Ratings 6, 3, 2 and a failure, 0: mean 11/4; below 3 two of four; (3 + 0 + 2 + 0) / 4 of 3 informative."""
    questions = mmhal_questions("counting", "other", "counting", "other")
    scored = mmhal.score(questions, given("six", "three", "two", "bold"), MMHAL_PROMPT, says(REPLIES))
    assert scored.metrics == pytest.approx(
        {"score": 2.75, "hallucination_rate": 50.0, "informativeness": 100 * 5 / 12}
    )
    assert scored.groups == {"counting": {"score": 4.0}, "other": {"score": 1.5}}
    assert (scored.n, scored.parse_failures) == (4, 1)
    assert scored.warnings == ["1 of 4 replies hold no one rating and count as 0; score without: 3.67"]


def test_mmhal_types_follow_the_question_not_its_place():
    kinds, names = ("counting", "other", "other"), ("six", "three", "two")
    questions, answers = mmhal_questions(*kinds), given(*names)
    once = mmhal.score(questions, answers, MMHAL_PROMPT, says(REPLIES))
    turned = mmhal.score(questions[::-1], answers, MMHAL_PROMPT, says(REPLIES))
    assert (turned.metrics, turned.groups) == (once.metrics, once.groups)
    again = [replace(question, id="b" + question.id) for question in questions]
    answered = answers | {"b" + name: texts for name, texts in answers.items()}
    doubled = mmhal.score(questions + again, answered, MMHAL_PROMPT, says(REPLIES))
    assert doubled.metrics == pytest.approx(once.metrics) and doubled.groups == once.groups


def test_mmhal_prompt_is_filled_in_order_and_braces_of_an_answer_are_text():
    (message,) = mmhal.to_messages(MMHAL, "it is {} {0}", MMHAL_PROMPT)
    text = "objects cat, mat; question what {is} it?; person a {} cat; model it is {} {0}"
    assert message == {"role": "user", "content": text}
    with pytest.raises(DataError, match="3 places {}; expected 4"):
        mmhal.to_messages(MMHAL, "x", "{} {} {}")


# --- LLaVA-Bench


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        ("8 6\nbecause", (8, 6)),
        ("8,6", (8, 6)),
        ("8.5 6", (8.5, 6)),
        ("8, 6", None),  # the comma and the space are two separators in the official script
        ("8 6 ", None),
        ("8 6 7", None),
        ("8", None),
        ("Ratings: 8 6", None),
        ("\n8 6", None),
        ("nan 6", None),
        ("", None),
    ],
)
def test_how_two_ratings_are_read(reply, ratings):
    assert llava_bench.parse(reply) == ratings


def llava_questions(*categories):
    truth = {"context": "a cat", "reference": "cat!"}
    return [Question(str(n), "what?", ("x.jpg",), truth | {"rule": c}, c) for n, c in enumerate(categories)]


PAIRS = {"even": "8 8", "half": "8 4", "twice": "2 4", "lost": "I rate 8 and 6"}


def test_llava_bench_is_a_ratio_of_means_worked_by_hand():
    """Reference 8, 8, 2, ours 8, 4, 4: 16 / 18, while the mean of the ratios would be 3.5 / 3."""
    questions = llava_questions("conv", "conv", "detail", "detail")
    answers = given("even", "half", "twice", "lost")
    scored = llava_bench.score(questions, answers, RULES, says(PAIRS), system="be just")
    assert scored.metrics == pytest.approx(
        {"relative": 100 * 16 / 18, "ours_x10": 160 / 3, "reference_x10": 60}
    )
    assert scored.groups == {
        "conv": {"relative": 75, "ours_x10": 60, "reference_x10": 80},
        "detail": {"relative": 200, "ours_x10": 40, "reference_x10": 20},
    }
    assert (scored.n, scored.parse_failures) == (4, 1)
    assert scored.warnings == ["1 of 4 replies hold no two ratings: dropped"]
    again = [replace(question, id="b" + question.id) for question in questions]
    answered = answers | {"b" + name: texts for name, texts in answers.items()}
    doubled = llava_bench.score(again + questions[::-1], answered, RULES, says(PAIRS), system="be just")
    assert doubled.metrics == pytest.approx(scored.metrics) and doubled.parse_failures == 2


def test_a_swapped_judgement_counts_for_the_right_side_and_is_labelled():
    scored = llava_bench.score(llava_questions("conv"), given("half"), RULES, says(PAIRS), swap=True)
    assert scored.metrics["relative"] == 200  # 8 for the first, which is ours now
    assert scored.variant == "not official: the reference is shown second"


def test_no_reply_that_can_be_read_gives_no_score():
    scored = llava_bench.score(llava_questions("conv"), given("lost"), RULES, says(PAIRS), system="s")
    assert scored.parse_failures == 1 and "relative" not in scored.metrics
    assert "no relative score: the reference has no rating above 0" in scored.warnings


def test_llava_bench_messages_word_for_word():
    text = (
        "[Context]\na cat\n\n[Question]\nwhat?\n\n[Helper 1]\ncat!\n\n[End of Helper 1]\n\n"
        "[Helper 2]\nmeow\n\n[End of Helper 2]\n\n[System]\nrate\n\n"
    )
    (question,) = llava_questions("conv")
    system = {"role": "system", "content": "be just"}
    assert llava_bench.to_messages(question, "meow", RULES, "be just") == [
        system,
        {"role": "user", "content": text},
    ]
    assert llava_bench.to_messages(question, "meow", RULES) == [{"role": "user", "content": text}]
    swapped = llava_bench.to_messages(question, "meow", RULES, swap=True)[0]["content"]
    assert swapped == text.replace("cat!", "-").replace("meow", "cat!").replace("-", "meow")
    with pytest.raises(DataError, match="no rule complex"):
        llava_bench.to_messages(replace(question, truth=question.truth | {"rule": "complex"}), "meow", RULES)


def write_lines(file, *lines):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_both_sets_are_read_by_question_id_and_picture(tmp_path):
    question = {"question_id": 7, "image": "x.jpg", "text": "what?", "category": "conv"}
    other = question | {"question_id": 8}
    answers = [{"question_id": 8, "text": "no"}, {"question_id": 7, "text": "cat!"}]
    box = {"category": "cat", "bbox": [0.1, 0.2, 0.3, 0.4]}
    coco, wild = tmp_path / "coco", tmp_path / "wild"
    write_lines(coco / "qa90_questions.jsonl", question, other)
    write_lines(coco / "qa90_gpt4_answer.jsonl", *answers)
    boxes = {"image": "x.jpg", "captions": ["one", "two"], "instances": [box, box | {"category": "mat"}]}
    write_lines(coco / "caps_boxes_coco2014_val_80.jsonl", boxes)
    write_lines(wild / "questions.jsonl", question)
    write_lines(wild / "answers_gpt4.jsonl", *answers)
    write_lines(wild / "context.jsonl", {"image": "x.jpg", "caption": "a cat"})
    first, second = llava_bench.load([coco])
    assert (first.id, first.truth["reference"], first.truth["rule"]) == ("7", "cat!", "conv")
    assert first.truth["context"] == "one\ntwo\n\ncat: [0.1, 0.2, 0.3, 0.4]\nmat: [0.1, 0.2, 0.3, 0.4]"
    assert second.truth["reference"] == "no"
    (only,) = llava_bench.load([wild])
    assert (only.truth["context"], only.truth["rule"]) == ("a cat", "llava_bench_conv")
    with pytest.raises(DataError, match="0 sets of LLaVA-Bench; expected a folder with one: qa90_questions"):
        llava_bench.load([tmp_path])
    write_lines(wild / "context.jsonl", {"image": "y.jpg", "caption": "a cat"})
    with pytest.raises(DataError, match="question 7 has no reference answer or no context"):
        llava_bench.load([wild])


# --- win rate


@pytest.mark.parametrize(
    ("reply", "points"),
    [
        ("So [[A]]", 1),
        ("[[B]]", 0),
        ("[[C]]", 0.5),
        ("[[A]] it is: [[A]]", 1),
        ("[[A]] or [[B]]", None),
        ("<think>[[A]]? [[B]]?</think>So [[C]]", 0.5),
        ("[A]", None),
        ("[[a]]", None),
        ("", None),
    ],
)
def test_how_a_verdict_is_read(reply, points):
    assert win_rate.parse(reply) == points


TEMPLATE = "$question|$context|$answer_a|$answer_b"


def prefers(*order):
    """A judge that prefers what comes earlier in `order`, whatever is shown first; none of it is a tie."""

    def ask(messages):
        _, _, first, second = messages[0]["content"].split("|")
        places = [order.index(text) if text in order else len(order) for text in (first, second)]
        return "[[C]]" if places[0] == places[1] else "[[A]]" if places[0] < places[1] else "[[B]]"

    return ask


def answers(*texts):
    return [{"id": str(number), "prompt": "q", "response": text} for number, text in enumerate(texts)]


def test_win_rate_worked_by_hand_and_turned_round():
    """Of four pairs two are won, one is lost, one is a tie: 2.5 of 4."""
    ours, theirs = answers("good", "good", "bad", "x"), answers("bad", "bad", "good", "y")
    scored = win_rate.score(ours, theirs, TEMPLATE, prefers("good", "bad"))
    expected = {"win_rate": 62.5, "wins": 50, "ties": 25, "losses": 25, "first_shown": 50, "consistent": 100}
    assert scored.metrics == pytest.approx(expected) and scored.parse_failures == 0
    turned = win_rate.score(theirs, ours, TEMPLATE, prefers("good", "bad")).metrics
    assert (turned["win_rate"], turned["wins"], turned["losses"]) == (37.5, 25, 50)
    mixed = win_rate.score(ours[::-1], theirs[1:] + theirs[:1], TEMPLATE, prefers("good", "bad"))
    assert mixed.metrics == scored.metrics


def test_a_judge_that_always_takes_the_first_gives_no_one_a_win():
    scored = win_rate.score(answers("a", "b"), answers("c", "d"), TEMPLATE, lambda _: "[[A]]")
    expected = {"win_rate": 50, "wins": 0, "ties": 100, "losses": 0, "first_shown": 100, "consistent": 0}
    assert scored.metrics == expected


def test_a_pair_without_a_verdict_in_either_order_is_dropped_and_counted():
    def ask(messages):
        return "hm" if messages[0]["content"].endswith("|a|c") else "[[A]]"

    scored = win_rate.score(answers("a", "b"), answers("c", "d"), TEMPLATE, ask)
    assert (scored.n, scored.parse_failures, scored.metrics["win_rate"]) == (2, 1, 50)
    assert scored.warnings == ["1 of 4 replies hold no one verdict: 1 pairs dropped"]


def test_answers_to_different_prompts_are_not_compared():
    other = [answers("c")[0] | {"prompt": "another"}]
    with pytest.raises(DataError, match="0: the two models answered different prompts"):
        win_rate.score(answers("a"), other, TEMPLATE, prefers())


def test_what_only_one_of_the_two_answered_is_told():
    scored = win_rate.score(answers("a", "b"), answers("a"), TEMPLATE, prefers())
    assert scored.n == 1
    assert scored.warnings == ["baseline: 1 of 2 ids without an answer: not scored"]


def test_a_judge_is_told_what_is_known_and_dollars_of_an_answer_are_text():
    (message,) = win_rate.to_messages("q", "$5", "$answer_a", TEMPLATE, "a cat")
    assert message["content"] == "q|a cat|$5|$answer_a"
    with pytest.raises(DataError, match=r"expected \$question, \$answer_a and \$answer_b"):
        win_rate.to_messages("q", "a", "b", "$question $answer_a")
    compared = "<image>\n<image>\nIs <image> brighter?\n<image>"
    (message,) = win_rate.to_messages(compared, "a", "b", TEMPLATE)
    assert message["content"] == "Is <image> brighter?|nothing|a|b"
    (message,) = win_rate.to_messages("the question?", "one", "two", judge.OWN_PROMPT.read_text(), "a cat")
    assert all(text in message["content"] for text in ("the question?", "one", "two", "a cat"))


def test_a_question_is_the_same_with_and_without_the_marker_of_its_picture():
    ours, theirs = ([answers("a")[0] | {"prompt": text}] for text in ("<image>\nWhat?", "What?"))
    assert win_rate.score(ours, theirs, TEMPLATE, lambda _: "[[C]]").metrics["win_rate"] == 50
    nulls = [answers("a")[0] | {"prompt": None}]
    assert win_rate.score(nulls, nulls, TEMPLATE, lambda _: "[[C]]").metrics["win_rate"] == 50


def test_win_rate_of_a_reward_model_is_the_share_of_pairs_that_are_won():
    """2 and 0 against 1: one of two won. 1 against 1: a tie. 3 against 0 and 0: won."""
    ours = [{"id": "a", "scores": [2, 0]}, {"id": "b", "scores": [1.0]}, {"id": "c", "scores": [3]}]
    theirs = [{"id": "c", "scores": [0, 0]}, {"id": "b", "scores": [1.0]}, {"id": "a", "scores": [1]}]
    scored = win_rate.score_rewards(ours, theirs)
    assert scored.metrics == pytest.approx(
        {"win_rate": 100 * 2 / 3, "wins": 100 / 3, "ties": 200 / 3, "losses": 0}
    )
    assert win_rate.score_rewards(ours, ours).metrics["win_rate"] == 50


# --- the command


def test_the_command_writes_figures_with_their_judge_and_replays_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(judge, "endpoint", lambda _: says(REPLIES))
    records = [MMHAL | {"question_type": kind} for kind in ("a", "b", "b")]
    (tmp_path / "truth.json").write_text(json.dumps(records))
    (tmp_path / "prompt.txt").write_text(MMHAL_PROMPT)
    write_lines(tmp_path / "p.jsonl", *predictions("six", "bold"))
    files = {
        name: str(tmp_path / file) for name, file in (("truth", "truth.json"), ("judge_prompt", "prompt.txt"))
    }
    config = {"bench": "mmhal", "predictions": str(tmp_path / "p.jsonl"), "output": str(tmp_path / "s.json")}
    judge.main(judge.JudgeConfig(judge="endpoint", **config, **files), EndpointConfig(judge_model="m"))
    printed = capsys.readouterr().out
    assert "judge m" in printed and "answered 2 of 3 questions (66.7 %)" in printed
    assert "mmhal, 2 answers: score 3 " in printed and "1 of 3 ids without an answer: not scored" in printed
    assert "warning: 1 of 2 replies hold no one rating" in printed
    written = json.loads((tmp_path / "s.json").read_text())
    assert (written["bench"], written["judge"], written["n"]) == ("mmhal", "m", 2)
    assert written["metrics"]["score"] == 3 and written["settings"]["temperature"] == 0
    assert written["per_item"][0]["reply"] == "Rating: 6"

    monkeypatch.setattr(judge, "endpoint", None)  # a replay needs none
    judge.main(judge.JudgeConfig(judge="replay", **config, **files), EndpointConfig())
    again = json.loads((tmp_path / "s.json").read_text())
    assert (again["judge"], again["metrics"]) == ("m", written["metrics"])


def test_the_command_judges_pairs_by_a_reward_model(tmp_path, capsys):
    write_lines(tmp_path / "a.jsonl", {"id": "1", "scores": [2.0]}, {"id": "2", "scores": [0.0]})
    write_lines(tmp_path / "b.jsonl", {"id": "1", "scores": [1.0]})
    config = judge.JudgeConfig(
        "win_rate", str(tmp_path / "a.jsonl"), "reward_model", baseline=str(tmp_path / "b.jsonl")
    )
    judge.main(config, EndpointConfig(judge_model="mine"))
    printed = capsys.readouterr().out
    assert "judge mine" in printed and "answered 1 of 2 questions (50.0 %)" in printed
    assert "win_rate, 1 answers: win_rate 100.0" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"bench": "other"}, "--bench other: unknown; expected one of mmhal, llava_bench, refomb, win_rate"),
        ({"judge": "oracle"}, "--judge oracle: unknown"),
        ({"judge": "reward_model"}, "--judge reward_model: gives numbers"),
        ({}, "--truth: needed by --bench mmhal"),
        ({"bench": "win_rate"}, "--baseline: needed by --bench win_rate"),
        ({"truth": "gone.json", "judge_prompt": "gone.txt"}, "--truth gone.json: no such file"),
    ],
)
def test_wrong_flags_end_with_one_message(tmp_path, flags, message):
    write_lines(tmp_path / "p.jsonl", *predictions("six"))
    config = {"bench": "mmhal", "judge": "replay", "predictions": str(tmp_path / "p.jsonl")} | flags
    with pytest.raises(DataError, match=f"^{message}"):
        judge.main(judge.JudgeConfig(**config), EndpointConfig())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"p.jsonl: does not parse as JSON"),
        ('{"id": "1"}', r"p.jsonl\[0\]: lacks `response`; found id"),
        ("[1]", r"p.jsonl\[0\]: found int, expected a JSON object"),
    ],
)
def test_predictions_that_are_none_are_told(tmp_path, text, message):
    (tmp_path / "p.jsonl").write_text(text)
    (tmp_path / "t.json").write_text("[]")
    config = judge.JudgeConfig("mmhal", str(tmp_path / "p.jsonl"), "replay", str(tmp_path / "t.json"))
    with pytest.raises(DataError, match=message):
        judge.main(replace(config, judge_prompt=str(tmp_path / "t.json")), EndpointConfig())


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ("Rating: **4**", 4),
        ("**Rating**: 4", 4),
        ("rating 4. Rating: 4", 4),
        ("<think>Rating: 1?</think>\nRating: 4", 4),
        ("Rating: 10", None),
        ("4", None),
    ]
    + [("Rating: 4.5", None), ("Rating: 3 or rating: 5", None), ("Rating: 7", None), ("", None)],
)
def test_a_rating_in_any_wording_is_read_strictly(reply, rating):
    assert mmhal.strict(reply) == rating


@pytest.mark.parametrize(
    ("reply", "ratings"),
    [
        ("8, 9\nwhy", (8, 9)),
        ("\nRatings: **8** and **6.5**", (8, 6.5)),
        ("8/10 9/10", (8, 9)),
        ("<think>5 6\n</think>\n8 9", (8, 9)),
        ("8 9 7", None),
    ]
    + [("8", None), ("80 9", None), ("0 9", None), ("", None)],
)
def test_two_ratings_in_any_wording_are_read_strictly(reply, ratings):
    assert llava_bench.strict(reply) == ratings


def test_the_best_of_the_samples_can_be_judged_alone(tmp_path, monkeypatch):
    """Samples with ratings 6 and 2, of which a reward model chose the second."""
    monkeypatch.setattr(judge, "endpoint", lambda _: says(REPLIES))
    (tmp_path / "truth.json").write_text(json.dumps([MMHAL | {"question_type": "a"}]))
    (tmp_path / "prompt.txt").write_text(MMHAL_PROMPT)
    line = {"id": "0", "response": "<two>", "responses": ["<six>", "<two>"]}
    write_lines(tmp_path / "p.jsonl", line)
    config = judge.JudgeConfig(
        "mmhal",
        str(tmp_path / "p.jsonl"),
        "endpoint",
        truth=str(tmp_path / "truth.json"),
        judge_prompt=str(tmp_path / "prompt.txt"),
    )
    each, best = (
        judge.run(
            replace(config, best=best, judge_replies=str(tmp_path / f"{best}")), EndpointConfig("", "m")
        )
        for best in (False, True)
    )
    assert (each["n"], each["metrics"]["score"]) == (2, 4)
    assert (best["n"], best["metrics"]["score"], best["settings"]["best"]) == (1, 2, True)


def test_a_refused_question_is_told_by_its_id_and_counted(tmp_path, capsys, monkeypatch):
    def ask(messages):
        if "<two>" in messages[-1]["content"]:
            raise Refused("status 400: too long")
        return says(REPLIES)(messages)

    monkeypatch.setattr(judge, "endpoint", lambda _: ask)
    (tmp_path / "truth.json").write_text(json.dumps([MMHAL | {"question_type": "a"}] * 3))
    (tmp_path / "prompt.txt").write_text(MMHAL_PROMPT)
    settings = {"judge_prompt": str(tmp_path / "prompt.txt"), "output": str(tmp_path / "s.json")}
    write_lines(tmp_path / "p.jsonl", *predictions("six", "two", "six"))
    files = {"truth": str(tmp_path / "truth.json"), "predictions": str(tmp_path / "p.jsonl")}
    judge.main(
        judge.JudgeConfig("mmhal", judge="endpoint", **files, **settings), EndpointConfig(judge_model="m")
    )
    assert "1 questions got no reply: id 1: status 400: too long" in capsys.readouterr().out
    written = json.loads((tmp_path / "s.json").read_text())
    assert (written["parse_failures"], written["metrics"]["score"]) == (1, 4)  # (6 + 0 + 6) / 3


@pytest.mark.parametrize("bench", ["mmhal", "llava_bench", "win_rate"])
def test_replies_that_say_nothing_give_no_figure(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(judge, "endpoint", lambda _: lambda messages: "hm")
    question = {"question_id": 0, "image": "x.jpg", "text": "what?", "category": "conv"}
    write_lines(tmp_path / "t" / "questions.jsonl", question)
    write_lines(tmp_path / "t" / "answers_gpt4.jsonl", {"question_id": 0, "text": "cat!"})
    write_lines(tmp_path / "t" / "context.jsonl", {"image": "x.jpg", "caption": "a cat"})
    (tmp_path / "m.json").write_text(json.dumps([MMHAL | {"question_type": "a"}]))
    prompt = {"mmhal": MMHAL_PROMPT, "llava_bench": json.dumps({"llava_bench_conv": RULES["conv"]})}
    truth = {"mmhal": "m.json", "llava_bench": "t"}.get(bench)
    flags = {"truth": str(tmp_path / truth)} if truth else {"baseline": str(tmp_path / "p.jsonl")}
    if bench in prompt:
        (tmp_path / "prompt").write_text(prompt[bench])
        flags["judge_prompt"] = str(tmp_path / "prompt")
    write_lines(tmp_path / "p.jsonl", {"id": "0", "prompt": "q", "response": "a cat"})
    config = judge.JudgeConfig(
        bench, str(tmp_path / "p.jsonl"), "endpoint", output=str(tmp_path / "s.json"), **flags
    )
    with pytest.raises(DataError, match="none of the judge's 1 replies can be read, so there is no figure"):
        judge.main(config, EndpointConfig(judge_model="m"))
    assert not (tmp_path / "s.json").exists()
