"""The page of what a run sampled: small, right, safe, and alive in a real browser."""

import json
import re
import subprocess
import sys
import time
from itertools import pairwise

import pytest
from PIL import Image

from eval.rollout_groups import Answer, Group, chosen, read_groups
from eval.rollout_truth import find_invented
from eval.rollouts import RolloutsConfig, main
from tests.conftest import ROOT, picture
from training.utils.config.flags import ConfigError
from training.utils.data.record import DataError
from training.utils.run.identity import Identity
from training.utils.run.run_record import RunRecord

HOSTILE = '</script><script>document.title = "taken"</script><img src=x onerror=alert(1)>&amp; \u2028 \ud800'


def line(step=1, name="a", responses=("a cat.",), scores=(1.0,), image="0.png", **more):
    found = {"step": step, "id": name, "prompt": "What is it?", "images": [image]}
    return found | {"responses": list(responses), "scores": list(scores), "kl": [0.5] * len(scores)} | more


def tokens(text, advantage, kl, reward):
    return {"text": text, "advantage": advantage, "kl": kl, "reward": reward}


def write(folder, *lines):
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    return folder


def page_of(folder, **more) -> str:
    main(RolloutsConfig(str(folder), image_folder=str(folder), **more))
    return (folder / "rollouts.html").read_text()


def data_of(page) -> dict:
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    )


def test_the_page_has_the_tokens_and_their_numbers_in_thousandths(tmp_path):
    picture(0).save(tmp_path / "0.png")
    known = tokens(["a", " cat", "</s>"], [0.5, -1.25, 2.0], [0.0, -0.001, None], [0.0, 0.0, 0.0])
    write(tmp_path, line(tokens=[known]), line(2, "b", ("x", "y"), (1, None), image="0.png"))
    data = data_of(page_of(tmp_path))
    first, second = data["groups"]
    assert first["answers"] == [
        {
            "text": "a cat</s>",
            "score": 1.0,
            "kl": 0.5,
            "cut": 0,
            "tokens": {
                "lengths": [1, 4, 4],
                "advantage": [500, -1250, 2000],
                "kl": [0, -1, None],
                "reward": 0,
            },
        }
    ]
    assert len(data["pictures"]) == 1 and first["pictures"] == second["pictures"] == [0]
    assert [answer["score"] for answer in second["answers"]] == [1, None]
    assert data["scales"]["advantage"] == pytest.approx(2.0, rel=0.05) and "reward" not in data["scales"]


def test_a_thousand_long_rollouts_with_a_picture_each_are_a_small_page_in_seconds(tmp_path):
    words = [f" word{n % 37}" for n in range(300)]
    for number in range(250):
        Image.effect_noise((320, 240), 60).save(tmp_path / f"{number}.jpg")
    values = [[round(((7 * n) % 41 - 20) / 9, 3) for n in range(300)] for _ in range(3)]
    lines = [
        line(
            n,
            str(n),
            ["".join(words)] * 4,
            (1.0, 2.0, 3.0, 4.0),
            f"{n}.jpg",
            tokens=[tokens(words, *values)] * 4,
        )
        for n in range(251)
    ]
    write(tmp_path, *lines)
    started = time.monotonic()
    page = page_of(tmp_path)
    assert time.monotonic() - started < 30
    assert len(page.encode()) < 5_000_000
    data = data_of(page)
    assert sum(len(group["answers"]) for group in data["groups"]) == 1000
    coloured = [group["step"] for group in data["groups"] if "tokens" in group["answers"][0]]
    assert len(coloured) > 50 and max(coloured) - min(coloured) > 230  # from all over the run
    assert "groups are without colours" in page and "1,000 of 1,004" in page


def test_the_groups_shown_are_from_all_over_the_run(tmp_path):
    groups = read_groups(write(tmp_path, *(line(n, responses="ab", scores=(0, 1)) for n in range(100))))
    steps = [group.step for group in chosen(groups, 20)]
    assert len(steps) == 10 and steps[-1] == 99 and {b - a for a, b in pairwise(steps)} == {10}
    assert len(chosen(groups, 1)) == 1 and chosen(groups, 1000) == groups


def test_what_is_sampled_stays_text(tmp_path):
    written = tokens([HOSTILE], [1.0], [0.0], [0.0])
    page = page_of(
        write(tmp_path, line(1, HOSTILE, [HOSTILE], image=HOSTILE, prompt=HOSTILE, tokens=[written]))
    )
    assert page.count("<script") == 2 and page.count("</script>") == 2 and "<img" not in page
    assert "http" not in page.replace("http-equiv", "") and "url(" not in page and "@import" not in page
    assert data_of(page)["groups"][0]["answers"][0]["text"] == HOSTILE.replace("\ud800", "?")


def test_each_answer_has_the_score_of_each_reward_and_what_it_says(tmp_path):
    more = {"parts": {"judge": [7, None], "length": [0.5, 0.25], "torn": [1]}}
    more |= {"said": {"judge": [HOSTILE, "[[2]]"], "words": ["a", None]}}
    page = page_of(write(tmp_path, line(1, "a", ("x", "y"), (7.5, 2.25), **more), line(2, "b")))
    assert page.count("<script") == 2 and "<img" not in page
    (first, second), (plain,) = (group["answers"] for group in data_of(page)["groups"])
    assert first["rewards"] == [
        ["judge", 7, HOSTILE.replace("\ud800", "?")],
        ["length", 0.5, ""],
        ["words", None, "a"],
    ]
    assert second["rewards"] == [["judge", None, "[[2]]"], ["length", 0.25, ""], ["words", None, ""]]
    assert "rewards" not in plain


def test_long_words_of_rewards_are_cut_with_the_answers(tmp_path):
    lines = [line(n, str(n), said={"judge": ["w" * 4000]}) for n in range(600)]
    page = page_of(write(tmp_path, *lines))
    assert len(page.encode()) < 5_000_000
    assert {len(group["answers"][0]["rewards"][0][2]) for group in data_of(page)["groups"]} == {2000}


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/hostname", "https://x.example/y.png", "gone.png", "a\0b"]
)
def test_a_picture_elsewhere_is_not_shown(name, tmp_path):
    (tmp_path / "run").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "secret.png")
    data = data_of(page_of(write(tmp_path / "run", line(image=name))))
    assert data["pictures"] == [] and data["groups"][0]["missing"] != []
    inside = line(image=str(tmp_path / "secret.png"))
    main(RolloutsConfig(str(write(tmp_path / "run", inside)), image_folder=str(tmp_path)))
    assert len(data_of((tmp_path / "run" / "rollouts.html").read_text())["pictures"]) == 1


def test_the_folder_of_pictures_is_that_of_the_run(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    picture(0).save(tmp_path / "0.png")
    write(run, line())

    def shown(**arguments) -> str:
        RunRecord(arguments, Identity({}, {}), []).write(run / "args.json")
        main(RolloutsConfig(str(run)))
        return (run / "rollouts.html").read_text()

    for arguments in (
        {"image_folder": None, "data_path": f"{tmp_path}/a.json {tmp_path}/b.json"},
        {"image_folder": str(tmp_path), "data_path": "elsewhere/a.json"},
    ):
        assert len(data_of(shown(**arguments))["pictures"]) == 1
    page = shown(image_folder=None, data_path=f"{tmp_path}/a.json elsewhere/b.json")
    assert "1 of 1 pictures are not shown without --image_folder" in page


def test_a_file_without_tokens_is_shown_without_colours(tmp_path):
    old = {"step": 3, "id": "a", "responses": ["a cat", "a dog"], "scores": [1.0, 0.5], "kl": [0.1, 0.2]}
    damaged = {"step": "x"}
    page = page_of(write(tmp_path, old, damaged, line(4, tokens=[tokens(["a"], [1.0, 2.0], [0.0], [0.0])])))
    assert "so there are no colours" in page and 'type="radio"' not in page
    assert [answer["text"] for answer in data_of(page)["groups"][0]["answers"]] == ["a cat", "a dog"]


def test_invented_words_are_marked_by_a_demo_world(tmp_path):
    scenes = [{"id": "a", "image": "0.png", "objects": ["cat"]}]
    (tmp_path / "truth.json").write_text(json.dumps({"objects": ["cat", "dog"], "scenes": scenes}))
    known = tokens(["two d", "ogs and a cat"], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0])
    write(tmp_path, line(responses=["two dogs and a cat"], tokens=[known]), line(2, "b", ["a dog"]))
    page = page_of(tmp_path, truth=str(tmp_path / "truth.json"))
    first, second = (group["answers"][0] for group in data_of(page)["groups"])
    assert first["marks"] == [[4, 8]] and "marks" not in second
    assert "1 of 2 groups have no truth" in page


def test_invented_words_are_marked_as_chair_finds_them(tmp_path):
    (tmp_path / "synonyms.txt").write_text("cat, kitten\ndog, puppy\n")
    there = {
        "image": "COCO_val2014_000000000042.jpg",
        "captions": ["a kitten"],
        "instances": [{"category": "cat"}],
    }
    (tmp_path / "caps.jsonl").write_text(json.dumps(there) + "\n")
    write(tmp_path, line(name="x", responses=["A puppy, a cat."], image="val2014/000000000042.jpg"))
    page = page_of(tmp_path, truth=str(tmp_path / "caps.jsonl"), synonyms=str(tmp_path / "synonyms.txt"))
    assert data_of(page)["groups"][0]["answers"][0]["marks"] == [[2, 7]]
    with pytest.raises(DataError, match="give CHAIR's --synonyms too"):
        page_of(tmp_path, truth=str(tmp_path / "caps.jsonl"))


def test_the_number_of_a_picture_of_coco_counts_and_no_id_of_a_group(tmp_path):
    """A record without an id has its place in the file as one; questions have ids of their own."""
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    annotations = [{"image_id": 9, "category_id": 2}, {"image_id": 42, "category_id": 1}]
    (tmp_path / "synonyms.txt").write_text("cat\ndog\n")
    coco = {"images": [], "annotations": annotations, "categories": categories}
    (tmp_path / "instances.json").write_text(json.dumps(coco))
    named = [{"id": of["image_id"], "file_name": f"{of['image_id']:012d}.jpg"} for of in annotations]
    (tmp_path / "named.json").write_text(json.dumps(coco | {"images": named}))
    answers = (Answer("A cat.", "A cat.", 1.0, 0.0, None, {}),)
    groups = [Group(1, "9", "?", ("val2014/000000000042.jpg",), answers), Group(1, "42", "?", (), answers)]
    for file in ("instances.json", "named.json"):
        found = find_invented(groups, tmp_path / file, str(tmp_path / "synonyms.txt"))
        assert found == {("9", "A cat."): []}


def test_a_mistake_is_one_line(tmp_path):
    command = [sys.executable, "-m", "eval.rollouts", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode and done.stderr == (
        f"error: {tmp_path}/rollouts.jsonl: no such file; expected the output folder of run_ppo_training.sh\n"
    )
    with pytest.raises(DataError, match="holds no rollouts; expected lines with `step`"):
        page_of(write(tmp_path, {"step": 1}))
    write(tmp_path, line())
    (tmp_path / "other.json").write_text(json.dumps({"objects": ["cat"], "scenes": []}))
    for truth, expected in (
        ("x", "--truth x: no such file"),
        (str(tmp_path / "other.json"), "knows none of the 1 groups"),
    ):
        with pytest.raises(DataError, match=expected):
            page_of(tmp_path, truth=truth)
    with pytest.raises(DataError, match="no such folder"):
        main(RolloutsConfig(str(tmp_path), image_folder="nowhere"))
    itself = {"run": str(tmp_path), "output": str(tmp_path / "rollouts.jsonl")}
    for wrong in ({"run": ""}, {"run": "x", "most": 0}, itself):
        with pytest.raises(ConfigError, match="expected|choose another file"):
            RolloutsConfig(**wrong)
