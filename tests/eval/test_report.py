"""The tables, the curves and the page, which a real browser opens."""

import base64
import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from eval import tables
from eval.curves import panels
from eval.gallery import LONGEST_TEXT, chosen, gallery, read_questions
from eval.page import data_uri
from eval.report import ReportConfig, main
from training.utils.data.record import DataError

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))),
    None,
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium to open the page in")


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    return file


def described(name, response, invented=()):
    return {
        "id": name,
        "response": response,
        "invented": list(invented),
        "covered": ["cat"],
        "num_objects": 1,
    }


BEFORE = [
    described("1", "a cat and a hat.", ["hat"]),
    described("2", "a cat."),
    described("3", "a bus.", ["bus"]),
    described("4", "a <b>cat</b>."),
]
AFTER = [
    described("1", "a cat."),
    described("2", "a cat and two hats.", ["hat"]),
    described("3", "a dog.", ["dog"]),
    described("4", "a cat."),
]
OUTCOMES = {"1": "fixed", "2": "broken", "3": "still-wrong", "4": "still-right"}


@pytest.fixture
def spec(tmp_path) -> Path:
    """Two runs, four descriptions and one question: one of each outcome, and one more that is fixed."""
    scenes = []
    for number in range(1, 5):
        Image.new("RGB", (8, 8), (50 * number, 0, 0)).save(tmp_path / f"{number}.png")
        scenes.append({"id": str(number), "image": f"{number}.png", "objects": ["cat"]})
    truth = write(tmp_path / "truth.json", {"scenes": scenes})
    turns = [{"from": "human", "value": "<image>\nIs there a cat?"}]
    asked = write(
        tmp_path / "pope.json", [{"id": "1-0", "image": "gone.png", "conversations": turns, "label": "yes"}]
    )
    runs = []
    for run, hal, items, said in (("SFT", 50.0, BEFORE, "no"), ("DPO", 25.0, AFTER, "yes")):
        greedy = {"metrics": {"Hal": hal, "Cover": 90.0, "words": 5.0}, "n": 4, "per_item": items}
        pope = [{"id": "1-0", "response": said, "answer": said, "label": "yes"}]
        scores = {
            "greedy": str(write(tmp_path / run / "greedy.json", greedy)),
            "POPE": str(
                write(tmp_path / run / "pope.json", {"metrics": {"F1": hal}, "n": 1, "per_item": pope})
            ),
        }
        runs.append({"name": run, "scores": scores})
    lines = [{"step": step, "loss": 5.0 - step} for step in (1, 2, 3)] + [{"step": 3, "eval_loss": 2.5}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    content = {
        "title": "Two & two",
        "runs": runs,
        "figures": [{"name": "reward model", "value": "98.9"}],
        "logs": [{"title": "SFT's loss", "file": str(tmp_path / "log.jsonl")}],
        "gallery": [
            {"title": "descriptions", "scores": "greedy", "questions": str(truth)},
            {"title": "yes or no", "scores": "POPE", "questions": str(asked)},
        ],
        "image_folder": str(tmp_path),
    }
    return write(tmp_path / "report.json", content)


def opened(page, tmp_path, fragment="", *flags) -> str:
    """The page as a browser has it after its script ran."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom"]
    command += ["--disable-background-networking", f"--user-data-dir={tmp_path / 'chromium'}", *flags]
    done = subprocess.run(
        [*command, page.as_uri() + fragment], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def shown_outcomes(dom) -> list[str]:
    cards = re.findall(r"<article [^>]*>", dom)
    return [re.search('data-outcome="([^"]*)"', card)[1] for card in cards if "hidden" not in card]


ALL = ["fixed", "broken", "still-wrong", "still-right", "fixed"]


@needs_chromium
@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("", ALL),
        ("#outcome=broken", ["broken"]),
        ("#outcome=fixed&bench=yes-or-no", ["fixed"]),
        ("#bench=yes-or-no&outcome=broken", []),
        ("#outcome=no-such", ALL),
        ("#results", ALL),
    ],
)
def test_a_browser_shows_the_answers_that_the_address_asks_for(spec, tmp_path, fragment, expected):
    main(ReportConfig(str(spec), output=str(tmp_path / "page.html")))
    dom = opened(tmp_path / "page.html", tmp_path, fragment)
    assert shown_outcomes(dom) == expected
    assert f"{len(expected)} of 5 answers shown" in dom
    assert '<div id="filters">' in dom


@needs_chromium
def test_a_button_filters_keeps_the_other_filter_and_can_be_linked_to(spec, tmp_path):
    main(ReportConfig(str(spec), output=str(tmp_path / "page.html")))
    page = (tmp_path / "page.html").read_text()
    click = """<script>document.querySelector("button[data-value=fixed]").click();
    document.querySelector("button[data-value=descriptions]").click(); document.title = location.hash;</script>"""
    (tmp_path / "clicked.html").write_text(page.replace("</body>", click + "</body>"))
    dom = opened(tmp_path / "clicked.html", tmp_path)
    assert shown_outcomes(dom) == ["fixed"]
    assert "<title>#bench=descriptions&amp;outcome=fixed</title>" in dom
    pressed = re.findall('data-value="([^"]*)" aria-pressed="true"', dom)
    assert pressed == ["descriptions", "fixed"]


def test_without_scripts_all_is_shown_and_there_is_no_button_that_does_nothing(spec, tmp_path):
    main(ReportConfig(str(spec), output=str(tmp_path / "page.html")))
    page = (tmp_path / "page.html").read_text()
    assert shown_outcomes(page) == ALL
    before, filters, _ = re.split(r'<div id="filters" hidden>(.*?)<div class="cards">', page, flags=re.DOTALL)
    assert "<button" in filters and "<button" not in before


def test_the_page_holds_all_that_it_needs(spec, tmp_path):
    main(ReportConfig(str(spec), output=str(tmp_path / "page.html")))
    page = (tmp_path / "page.html").read_text()
    assert "http" not in page and "url(" not in page and "@import" not in page
    assert set(re.findall(r'(?:src|href)="([^"]{1,6})', page)) <= {
        "data:i",
        "data:,",
        "#resul",
        "#train",
        "#answe",
    }
    for expected in (
        "<h1>Two &amp; two</h1>",
        "a cat and a <mark>hat</mark>.",
        "a &lt;b&gt;cat&lt;/b&gt;.",  # an answer is text, whatever it holds
        "Is there a cat?",
        "no picture at gone.png",
        "98.9",
        "<polyline",
    ):
        assert expected in page
    flow = re.findall(r"</i>(fixed|broken|still wrong|still right) <b>(\d+)</b>", page)
    assert [int(count) for _, count in flow] == [1, 1, 1, 1, 1, 0, 0, 0]


def test_a_spec_as_before_still_makes_a_page(spec, tmp_path):
    content = json.loads(spec.read_text())
    old = {name: content[name] for name in ("title", "runs", "figures", "image_folder")}
    Image.new("RGB", (8, 8)).save(tmp_path / "curves.png")
    old |= {
        "truth": str(tmp_path / "truth.json"),
        "pictures": [{"title": "DPO", "file": str(tmp_path / "curves.png")}],
    }
    main(ReportConfig(str(write(spec, old)), output=str(tmp_path / "page.html")))
    page = (tmp_path / "page.html").read_text()
    assert page.count("<article") == 4 and 'alt="DPO"' in page


# --- the table


def test_differences_are_to_the_first_run_and_know_which_way_is_better(spec):
    files = {run["name"]: run["scores"] for run in json.loads(spec.read_text())["runs"]}
    greedy, pope = tables.sections(files)
    hal, cover, words, n = greedy.rows
    assert [(c.value, c.change, c.better) for c in hal.cells] == [(50.0, None, None), (25.0, -25.0, True)]
    assert (cover.cells[1].change, cover.cells[1].better) == (0.0, None)
    assert (words.metric, n.cells[1].value, n.cells[1].change) == ("words", 4, None)
    assert (pope.rows[0].metric, pope.rows[0].cells[1].better) == ("F1", False)
    assert (greedy.headline.metric, pope.headline.metric) == ("Hal", "F1")
    assert tables.relative(hal, 1) == "−50 %" and tables.relative(hal, 0) == ""


@pytest.mark.parametrize(
    ("metric", "better"),
    [
        ("Hal", True),
        ("CHAIR_i", True),
        ("counting: hallucination_rate", True),
        ("response_hall", True),
        ("mention_hall", True),
        ("yes_bias", None),  # best at 0
        ("fp_ratio", None),  # best at a half
        ("score", False),
        ("words", None),
    ],
)
def test_a_fall_by_name(metric, better):
    assert tables.cell(metric, 1.0, 2.0).better is better


def test_one_table_over_folders(tmp_path, capsys):
    write(tmp_path / "a" / "pope.json", {"metrics": {"F1": 80.0}, "n": 10, "coverage": 50.0, "bench": "pope"})
    write(tmp_path / "a" / "deep" / "mmhal.json", {"metrics": {"score": 2.5, "bad": None}, "judge": "one"})
    write(tmp_path / "a" / "other.json", {"no": "scores"})
    write(
        tmp_path / "b" / "pope.json", {"metrics": {"F1": 82.5}, "n": 10, "bench": "pope", "warnings": ["hm"]}
    )
    write(tmp_path / "b" / "deep" / "mmhal.json", {"metrics": {"score": 3.0}, "judge": "two"})
    main(ReportConfig(runs=[f"A={tmp_path / 'a'}", f"B={tmp_path / 'b'}"]))
    assert capsys.readouterr().out == (
        "| bench      | figure   | A    | B            |\n"
        "| ---------- | -------- | ---- | ------------ |\n"
        "| deep/mmhal | score    | 2.50 | 3.00 (+0.50) |\n"
        "| pope       | F1       | 80.0 | 82.5 (+2.50) |\n"
        "| pope       | n        | 10   | 10           |\n"
        "| pope       | coverage | 50.0 |              |\n"
        "\n"
        "- deep/mmhal: not the same judge, so not to be compared: A: one; B: two\n"
        "- pope: bench: pope\n"
        "- pope: B: hm\n"
    )


def test_a_run_without_a_benchmark_has_no_figures_there_and_groups_are_shown(tmp_path):
    groups = {"random": {"F1": 90.0}, "popular": {"F1": 80.0}}
    write(tmp_path / "a" / "x.json", {"metrics": {"F1": 85.0}, "groups": groups, "n": 2})
    write(tmp_path / "b" / "y.json", {"metrics": {"F1": 70.0}, "groups": {"only": {"F1": 70.0}}})
    x, y = tables.sections(tables.in_folders([f"A={tmp_path / 'a'}", f"B={tmp_path / 'b'}"]))
    assert [row.metric for row in x.rows] == ["F1", "random: F1", "popular: F1", "n"]
    assert x.rows[0].cells[1] is None
    assert [row.metric for row in y.rows] == ["F1"]
    assert y.rows[0].cells == (None, tables.Cell(70.0, None, None))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ReportConfig(), "expected either --spec FILE or --runs"),
        (ReportConfig("a.json", ["A=b"]), "expected either"),
        (ReportConfig("gone.json"), "--spec gone.json: no such file"),
        (ReportConfig(runs=["A=docs", "A=data"]), "--runs: A stands twice; expected a name of its own"),
        (ReportConfig(runs=["folder"]), "--runs folder: expected NAME=FOLDER"),
        (ReportConfig(runs=["A=gone"]), "--runs A=gone: expected NAME=FOLDER"),
        (ReportConfig(runs=["A=docs"]), "--runs A=docs: no score file there"),
    ],
)
def test_what_can_not_be_shown_is_told(config, message):
    with pytest.raises(DataError, match=f"^{message}"):
        main(config)


# --- curves and pictures


def test_a_curve_is_scaled_to_its_panel_and_constants_are_left_out(tmp_path):
    """Loss 4, 3, 2 at the steps 1, 2, 4 of 4: a quarter, a half, the whole width; top, middle, bottom."""
    lines = [{"step": s, "loss": v, "same": 1.0, "lr": v} for s, v in ((1, 4.0), (2, 3.0), (4, 2.0))]
    lines.append({"step": 4, "eval_loss": 3.0})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (panel,) = panels(tmp_path / "log.jsonl")
    assert (panel.name, panel.last, panel.low, panel.high, panel.steps) == ("loss", 2.0, 2.0, 4.0, 4)
    assert panel.training == "60.0,0.0 120.0,48.0 240.0,96.0"
    assert panel.held_out == "240.0,48.0"


def test_a_long_curve_is_thinned_to_means(tmp_path):
    lines = ({"step": step, "loss": float(step % 2)} for step in range(1, 1601))
    (tmp_path / "log.jsonl").write_text(
        "".join(json.dumps(line | {"x": line["step"]}) + "\n" for line in lines)
    )
    (only,) = panels(tmp_path / "log.jsonl")  # the loss alternates, so all its means are the same: no curve
    assert only.name == "x" and len(only.training.split()) == 160
    assert (only.low, only.high) == (5.5, 1595.5)  # means of 1 to 10, and of 1591 to 1600
    with pytest.raises(DataError, match="no lines; expected the log.jsonl"):
        panels(tmp_path / "gone.jsonl")


def test_places_of_an_outcome_that_is_rare_go_to_the_next_and_pictures_differ(spec, tmp_path):
    questions = read_questions(tmp_path / "truth.json")
    files = {run["name"]: run["scores"] for run in json.loads(spec.read_text())["runs"]}
    found = gallery(files, "greedy", "d", questions, tmp_path)
    assert {entry.id: entry.outcome.replace(" ", "-") for entry in found.entries} == OUTCOMES
    right = found.entries[-1]
    assert [entry.id for entry in chosen([replace(right, id=name) for name in "abc"])] == ["a"]
    assert gallery({"SFT": files["SFT"]}, "greedy", "d", questions, tmp_path) is None


def test_a_large_picture_goes_into_the_page_smaller(tmp_path):
    Image.effect_noise((900, 700), 90).save(tmp_path / "large.png")
    Image.new("RGB", (20, 20)).save(tmp_path / "small.png")
    assert data_uri(tmp_path / "large.png", 60_000).startswith("data:image/jpeg;base64,")
    assert len(data_uri(tmp_path / "large.png", 60_000)) < len(data_uri(tmp_path / "large.png")) / 4
    assert data_uri(tmp_path / "small.png", 60_000).startswith("data:image/png;base64,")


def card(tmp_path, image, response="a cat."):
    """The one entry of a gallery about a picture by this name in tmp_path/pictures."""
    turns = [{"from": "human", "value": "What?"}]
    questions = write(tmp_path / "q.json", [{"id": "1", "image": image, "conversations": turns}])
    files = {}
    for run in ("a", "b"):
        scores = {"metrics": {}, "per_item": [described("1", response)]}
        files[run] = {"greedy": write(tmp_path / run / "s.json", scores)}
    (entry,) = gallery(files, "greedy", "d", read_questions(questions), tmp_path / "pictures").entries
    return entry


def test_only_pictures_of_the_folder_come_into_the_page(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "pictures" / "text.png").write_text("secret")
    Image.new("RGB", (8, 8)).save(tmp_path / "outside.png")
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "../outside.png", "text.png", "/etc/passwd"):
        assert card(tmp_path, name).picture == ""
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "in.png")
    assert card(tmp_path, "in.png").picture.startswith("data:image/png;base64,")
    Image.new("RGB", (8, 8)).save(tmp_path / "pictures" / "COCO_val2014_000000000042.jpg")
    assert card(tmp_path, "000000000042.jpg").picture


def test_a_picture_stands_upright_in_the_page(tmp_path):
    (tmp_path / "pictures").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (40, 20)).save(tmp_path / "pictures" / "a.jpg", exif=exif)
    content = base64.b64decode(card(tmp_path, "a.jpg").picture.partition(",")[2])
    with Image.open(io.BytesIO(content)) as image:
        assert image.size == (20, 40) and not image.getexif()


def test_a_very_long_answer_is_cut(tmp_path):
    (shown, _), *_ = card(tmp_path, "a.png", "x" * (LONGEST_TEXT + 5000)).answers[0].parts
    assert shown == "x" * LONGEST_TEXT + " … (5,000 more characters)"


def answered(folder, run, *right):
    """A run's score on multiple-choice questions, as eval.score writes it."""
    items = [{"id": str(n), "right": r, "kind": "TXT"} for n, r in enumerate(right)]
    accuracy = 100 * sum(right) / len(right)
    scores = {
        "bench": "multiple_choice",
        "metrics": {"accuracy": accuracy},
        "variant": "v",
        "per_item": items,
    }
    write(folder / run / "mc.json", scores | {"intervals": {"accuracy": [accuracy - 5, accuracy + 5]}})
    return f"{run}={folder / run}"


def test_a_difference_that_may_be_chance_is_called_so(tmp_path, capsys):
    """Of 40 questions the base has 20 right; one run wins 3 of the others and loses 2, the other wins 15."""
    base = [True] * 20 + [False] * 20
    alike = [False] * 2 + [True] * 21 + [False] * 17
    better = [True] * 35 + [False] * 5
    runs = [answered(tmp_path, *run) for run in (("base", *base), ("alike", *alike), ("better", *better))]
    main(ReportConfig(runs=runs, output=str(tmp_path / "r.html")))
    printed = capsys.readouterr().out
    assert re.search(
        r"alike against base on the 40 questions that both answered: accuracy \+2.50 \(.*, "
        r"p [01]\.\d+, can not be told apart\)",
        printed,
    )
    assert re.search(r"better against base .*: accuracy \+37.5 \(\+\d.* to \+\d.*, p 0.00\d\)", printed)
    assert "50.0 [45.0, 55.0]" in printed and "52.5 [47.5, 57.5] (+2.50)" in printed
    row = tables.sections(tables.in_folders(runs))[0].rows[0]
    assert [cell.better for cell in row.cells] == [None, None, True]
    assert "45.0 to 55.0" in (tmp_path / "r.html").read_text()


def test_runs_of_another_kind_are_not_tested_against_each_other(tmp_path):
    runs = [answered(tmp_path, "a", *[True] * 10), answered(tmp_path, "b", *[False] * 10)]
    other = json.loads((tmp_path / "b" / "mc.json").read_text()) | {"variant": "w"}
    write(tmp_path / "b" / "mc.json", other)
    (section,) = tables.sections(tables.in_folders(runs))
    assert not any("against" in note for note in section.notes)


def test_runs_on_other_questions_with_the_same_ids_are_not_tested_against_each_other(tmp_path):
    runs = [answered(tmp_path, name, *[name == "a"] * 10) for name in "abc"]
    for name, digest in (("a", "1" * 64), ("b", "1" * 64), ("c", "2" * 64)):
        scores = json.loads((tmp_path / name / "mc.json").read_text())
        write(
            tmp_path / name / "mc.json", scores | {"truth": [{"file": f"/{name}/q.json", "digest": digest}]}
        )
    (section,) = tables.sections(tables.in_folders(runs))
    assert [note.split(" on the")[0] for note in section.notes if "against" in note] == ["b against a"]
    (told,) = (note for note in section.notes if "truth" in note)
    assert told == (
        "not the same truth, so not to be compared: "
        "a: q.json (111111111111); b: q.json (111111111111); c: q.json (222222222222)"
    )
