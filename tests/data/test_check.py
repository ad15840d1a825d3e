"""The look at data before a run: its figures, its warnings, and its page."""

import copy
import json
import random
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from data.check import CheckConfig, main
from data.survey.choice import choose
from data.survey.counts import lengths, special_words
from data.survey.duplicates import ALIKE, duplicates, same_pictures, similar
from data.survey.measure import Measurer, Measures, measure, number, sketch, words
from data.survey.preferences import preferences
from data.survey.table import at_percent, wilson
from data.survey.view import view
from tests.conftest import picture, record
from tests.tiny_families import BUILDERS
from training.utils.data.entries import read_entries
from training.utils.data.reader import Reader
from training.utils.model.build_model import FAMILIES
from training.utils.model.seen_pictures import seen_pictures

PAYLOAD = "<script>alert('x')</script> & <b>"


def entry(question="What is this?", *answers, image=None, **more):
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": list(answers) or ["Yes.", "No."]}]
    return {"conversations": turns, "image": image, **more}


@pytest.fixture
def folder(tmp_path):
    for at in range(3):
        picture(at).save(tmp_path / f"{at}.png")
    (tmp_path / "copy.png").write_bytes((tmp_path / "0.png").read_bytes())
    (tmp_path / "broken.png").write_bytes((tmp_path / "0.png").read_bytes()[:200])
    return tmp_path


def write(folder, *entries):
    (folder / "data.json").write_text(json.dumps(entries))
    return folder / "data.json"


def looked_at(file, encoder, min_responses=2):
    entries = read_entries(file)
    found, failures = measure(
        entries, np.arange(len(entries)), Reader(min_responses), Measurer(encoder), num_workers=1
    )
    return found, failures, [entries.where(each.place) for each in found]


def tight(encoder, max_seq_len):
    other = copy.copy(encoder)
    other.max_seq_len = max_seq_len
    return other


def of(place=0, responses=(5, 5), **more):
    """Measures by hand."""
    given = {"prompt_len": 10, "image_lens": (), "sizes": (), "scaled": 0, "pictures": (), "text": place,
             "word_pairs": sketch(words(f"number {place}")), "first_words": ("a",) * len(responses),
             "answers": tuple(range(len(responses))), "scores": None, "label": None}  # fmt: skip
    return Measures(place=place, response_lens=tuple(responses), **given | more)


def test_what_is_measured_is_what_is_encoded(folder, encoder):
    file = write(folder, entry(image=["0.png", "1.png"]), entry("Why?", "Since it is so.", "No."))
    found, failures, _ = looked_at(file, encoder)
    trees = [encoder.encode(Reader(2).read(read_entries(file), at)) for at in range(2)]
    assert not failures
    assert [each.prompt_len for each in found] == [len(tree.prompt_ids) for tree in trees]
    assert [list(each.response_lens) for each in found] == [[len(r.ids) for r in t.responses] for t in trees]
    assert found[0].image_lens == (16, 16) and found[0].sizes == ((40, 30), (40, 30))
    assert found[0].need == len(trees[0].prompt_ids) + max(len(r.ids) for r in trees[0].responses)


def test_lengths_are_those_of_what_is_cut_and_refused(folder, encoder):
    asked = [entry("Why?", "So.", "No."), entry("Why?", "long " * 50, "No."), entry("why " * 80)]
    found, _, _ = looked_at(write(folder, *asked), encoder)
    limit = found[0].need + 20
    small, failures, _ = looked_at(folder / "data.json", tight(encoder, limit))
    assert [each.need for each in small] == [each.need for each in found]
    assert [each.responses_cut for each in small] == [0, 1, 0]
    assert [bool(each.refusal) for each in small] == [False, False, True] and len(failures) == 1
    part = lengths(small, limit)
    assert [row[1] for row in part.tables[1].rows] == [
        "1",
        "0",
        "1",
        *[f"{max(e.need for e in found):,}"] * 2,
    ]
    assert "cuts 17 % of the answers" in part.warnings[0] and "refuses 33 %" in part.warnings[0]


def test_words_that_look_like_special_tokens_are_told(folder, encoder):
    found, _, _ = looked_at(write(folder, entry("Hi </s> there"), entry("Hi"), entry("You")), encoder)
    part = special_words(found)
    assert part.tables[0].rows == [("</s>", "1", "33 %")] and "33 % of the records hold" in part.warnings[0]
    assert special_words(found[1:]).tables == []


def test_a_dropped_turn_is_told(folder, encoder):
    turns = [{"from": ("human", "gpt")[at % 2], "value": f"turn {at} " * 8} for at in range(5)]
    one = {"conversations": [*turns, {"from": "gpt", "value": ["Yes.", "No."]}]}
    found, _, _ = looked_at(write(folder, one), encoder)
    small, _, _ = looked_at(folder / "data.json", tight(encoder, found[0].need - 5))
    assert (found[0].turns_dropped, small[0].turns_dropped) == (0, 2)


def test_percentiles_and_intervals():
    assert [at_percent(range(1, 201), p) for p in (50, 99, 100)] == [100, 198, 200]
    assert wilson(8, 10) == pytest.approx(
        (0.4902, 0.9433), abs=1e-4
    )  # Newcombe, Stat. Med. 17, 1998, by his formula
    assert wilson(0, 0) == (0, 1)


def test_prompts_that_repeat_others(folder, encoder):
    long = "Is the large red car behind the small blue house in the street near the tree on the left of it"
    asked = [
        entry(long, image="0.png"),
        entry(long, image="copy.png"),  # the same picture
        entry(long, image="1.png"),
        entry(long.upper() + " now?", image="1.png"),
        entry("Another thing, is it not?", image="1.png"),
    ]
    found, _, where = looked_at(write(folder, *asked), encoder)
    contents = same_pictures(found, num_workers=1)
    assert {name.rpartition("/")[2] for name in contents} == {"0.png", "copy.png"}
    part = duplicates(found, where, contents)
    assert [row[1] for row in part.tables[0].rows] == ["4", "1", "2"]
    assert part.tables[0].rows[1][3] == f"{where[0]} = {where[1]}"
    assert part.tables[0].rows[2][3] == f"{where[2]} = {where[3]}"
    assert "20 % of the records repeat" in part.warnings[0]


def test_similar_sets_are_those_that_every_comparison_finds():
    draw = random.Random(0)
    sets = []
    for _ in range(60):
        one = draw.sample(range(300), draw.randrange(1, 20))
        sets += [one, [*one[: draw.randrange(len(one)) + 1], *draw.sample(range(300), 2)]]
    sets = [np.unique(np.array(each, np.uint64)) for each in sets]
    alike = {
        (a, b)
        for a in range(len(sets))
        for b in range(a)
        if len(both := set(sets[a].tolist()) & set(sets[b].tolist()))
        >= ALIKE * (len(sets[a]) + len(sets[b]) - len(both))
    }
    linked = {at: {at} for at in range(len(sets))}
    for a, b in alike:
        merged = linked[a] | linked[b]
        for at in merged:
            linked[at] = merged
    expected = {tuple(sorted(group)) for group in linked.values() if len(group) > 1}
    assert alike and {tuple(sorted(group)) for group in similar(sets)} == expected


def test_length_and_first_words_that_tell_the_chosen_answer():
    pairs = [
        of(at, (9 if at < 21 else 3, 5), first_words=("sure" if at < 28 else "a", "a"), scores=(2.0, 1.0))
        for at in range(30)
    ]
    tied = of(30, (50, 1), scores=(1.0, 1.0), answers=(7, 7))
    part = preferences([*pairs, tied], [f"d[{at}]" for at in range(31)])
    assert part.warnings[1].startswith("3.2 % of the prompts have two answers with the same words, as d[30]")
    assert part.warnings[0].startswith("In 70 % of the pairs the longer answer is the chosen one")
    assert any("begins with `sure`" in each and "chosen one in 100 % of 28" in each for each in part.warnings)
    rows = {row[0]: row[1:] for table in part.tables for row in table.rows}
    assert rows["tokens that the best is longer by, mean"][0] == "+2.2"  # (21 * 4 - 9 * 2) / 30
    assert rows["with scores, and two equal ones among them"][0] == "1 of 31"


def test_a_coin_gives_no_warning():
    pairs = [
        of(at, (5 + at % 2, 6 - at % 2), first_words=("yes", "no")[:: 1 - 2 * (at % 2)]) for at in range(100)
    ]
    assert preferences(pairs, [""] * 100).warnings == []


def test_words_are_compared_without_case_and_punctuation():
    assert words("The CAT, ﬁne!") == ["the", "cat", "fine"] and words("是猫 ok") == ["是", "猫", "ok"]
    assert number("a") != number("b") and len(sketch(["one"])) == 1
    assert len(sketch(list(map(str, range(5000))))) == 128


def test_the_choice_says_why():
    many = [of(at, (at + 1, 1), sizes=((4, 4),) * (at % 3)) for at in range(50)]
    many[7] = replace(many[7], responses_cut=1)
    many[0] = replace(many[0], refusal="too long")
    chosen = choose(many, seed=1)
    why = {each.place: reason for each, reason in chosen}
    assert len(chosen) == 20 and 0 not in why
    assert why[1] == "among the shortest" and why[49] == "among the longest"
    assert why[7] == "its answers are cut" and why[3] == "text only"
    assert Counter(why.values())["at random, by seed 1"] == 20 - sum(
        "random" not in reason for reason in why.values()
    )
    assert [each.place for each, _ in choose(many, seed=1)] == [each.place for each, _ in chosen]


def test_a_view_has_every_token_with_its_kind(encoder):
    one = record("<image>\nWhat is this, USER: 狐?", "A red circle.", "No", history=("Hi", "Hello."))
    seen = view(encoder, one, "", learns_history=True)
    tree = encoder.encode(one)
    assert [i for token in seen.prompt for i in token.ids] == tree.prompt_ids
    assert [[i for t in answer.tokens for i in t.ids] for answer in seen.answers] == [
        r.ids for r in tree.responses
    ]
    kinds = {
        kind: "".join(t.text for t in seen.prompt if t.kind == kind) for kind in ("words", "learned", "image")
    }
    assert kinds["words"].split() == ["HiWhat", "is", "this,", "USER:", "狐?"]
    assert kinds["learned"].strip().startswith("Hello.") and kinds["image"] == "[image, 16 tokens]"
    assert not any(token.cut for token in seen.prompt)
    learned = [i for token in seen.prompt if token.kind == "learned" for i in token.ids]
    assert learned == [i for i, told in zip(tree.prompt_ids, tree.prompt_learned, strict=True) if told]


def test_what_is_cut_is_struck_through(encoder):
    one = record("So?", "long " * 60, "No", images=(), history=("Old words", "Old answer"))
    whole = view(encoder, one, "", learns_history=False)
    fits = len(encoder.encode(record("So?", "x", images=())).prompt_ids) + 18
    small = tight(encoder, fits)
    seen, tree = view(small, one, "", learns_history=False), small.encode(one)
    assert [i for t in seen.prompt if not t.cut for i in t.ids] == tree.prompt_ids
    assert "Old" in "".join(t.text for t in seen.prompt if t.cut)
    assert [t.ids for t in seen.answers[0].tokens] == [t.ids for t in whole.answers[0].tokens]
    assert sum(not t.cut for t in seen.answers[0].tokens) == len(tree.responses[0].ids) == 18


@pytest.mark.parametrize(
    "name", ["llava", "llava_next", "llama-3.2-vision", "qwen2_5_vl", "internvl", "gemma3"]
)
def test_pictures_behind_the_processor(name):
    """A picture of noise, at a size that the processor keeps: each pixel comes back."""
    _, processor = BUILDERS[name][0]()
    noise = picture(0, (32, 32))
    vision, _ = FAMILIES[name].image_inputs(processor, [noise])
    pieces = seen_pictures(processor, vision)
    assert pieces and pieces[0].size == (32, 32)
    assert np.abs(np.asarray(pieces[0], int) - np.asarray(noise, int)).max() <= 1


def test_tensors_of_an_unknown_layout_are_not_guessed(encoder):
    assert seen_pictures(encoder.processor, {}) == []
    assert seen_pictures(encoder.processor, {"pixel_values": torch.zeros(3, 5)}) == []


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.found, self.addresses = Counter(), []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found[tag] += 1
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "data")]


def test_the_command_tells_of_bad_records_and_writes_one_page(folder, tiny_llava, capsys):
    file = write(
        folder,
        *[
            entry(f"{PAYLOAD} {at}", f"{PAYLOAD} yes", "No", image=f"{at % 3}.png", id=PAYLOAD)
            for at in range(25)
        ],
        entry(image="broken.png"),
        entry(image="missing.png"),
        entry("One?", PAYLOAD),
        ["odd"],
    )
    config = CheckConfig(
        from_checkpoint=str(tiny_llava),
        data_path=str(file),
        stage="dpo",
        output=str(folder / "page" / "check.html"),
    )
    main(config)
    said = capsys.readouterr().out
    assert "! 14 % of the records (4) are refused" in said and "image 'missing.png' is not in" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["all", "25", "25", "0", "25", "4"] in rows
    assert ["records", "with", "a", "missing", "or", "broken", "picture", "2", "7.4", "%"] in rows
    page = (folder / "page" / "check.html").read_text()
    elements = Elements(page)
    assert elements.found["script"] == elements.found["b"] == 0 and elements.found["article"] == 20
    assert "&lt;script&gt;" in page.replace("</span>", "").replace('<span class="t words" title', "")
    assert all(address.startswith(("data:", "#")) for address in elements.addresses)
    assert elements.found["img"] == 20 and "url(" not in page and "@import" not in page
    with pytest.raises(SystemExit) as ended:
        main(replace(config, output="", strict=True))
    assert ended.value.code == 2
    main(replace(config, output="", samples=7))
    assert "7 records, drawn at random from 29 (--samples)" in capsys.readouterr().out


def test_files_are_counted_apart(folder, tiny_llava, capsys):
    write(folder, entry(label="yes"), entry(label="no", image="0.png")).rename(folder / "one.json")
    write(folder, entry(), entry("Two?", "only one"))
    files = f"{folder / 'one.json'} {folder / 'data.json'}"
    main(CheckConfig(from_checkpoint=str(tiny_llava), data_path=files, stage="rm"))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [str(folder / "one.json"), "2", "1", "1", "1", "0"] in rows
    assert [str(folder / "data.json"), "1", "0", "1", "0", "1"] in rows
    assert ["yes", "1", "50", "%"] in rows
