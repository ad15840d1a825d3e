"""A judge that sees the pictures: which bytes arrive at a real server, wherever the pictures live."""

import base64
import io
import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from eval import judge
from eval.judges import EndpointConfig
from tests.conftest import picture
from tests.eval.conftest import lines
from tests.eval.test_refomb import REFOMB
from training.utils.chat.pictures import data_url
from training.utils.data.images import open_image
from training.utils.data.record import DataError


def encoded(number: int = 0, kind: str = "PNG", **how) -> bytes:
    content = io.BytesIO()
    picture(number).save(content, kind, **how)
    return content.getvalue()


def pictures_in(request) -> list[bytes]:
    """What a request shows."""
    _, _, body = request
    (message,) = (message for message in body["messages"] if message["role"] == "user")
    *parts, text = message["content"]
    assert text["type"] == "text" and {part["type"] for part in parts} == {"image_url"}
    urls = [part["image_url"]["url"].partition(",") for part in parts]
    assert {head for head, *_ in urls} == {"data:image/png;base64"}
    return [base64.b64decode(content) for *_, content in urls]


def files_of(place, write, tmp_path) -> dict[str, str]:
    """Data with two pictures, asked as 1 and 2, that live in this place."""
    if place == "files":
        rows = [
            {"id": n, "image": f"{n}.png", "conversations": [{"from": "human", "value": "?"}]} for n in (1, 2)
        ]
        for number in (1, 2):
            write(f"pictures/{number}.png", encoded(number))
        return {"data_path": str(write("asked.json", rows)), "image_folder": str(tmp_path / "pictures")}
    if place == "parquet of a data set":
        rows = [
            {
                "id": str(n),
                "images": [{"bytes": encoded(n), "path": None}],
                "prompt": [{"role": "user", "content": "?"}],
            }
            for n in (1, 2)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "asked.parquet")
        return {"data_path": str(tmp_path / "asked.parquet")}
    if place == "parquet of a benchmark":
        rows = [
            {"question_id": n, "question": "?", "answer": "no", "image": {"bytes": encoded(n), "path": None}}
            for n in (1, 2)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
        return {"data_path": str(tmp_path / "test.parquet"), "data_bench": "dash_b"}
    texts = [base64.b64encode(encoded(n)).decode() for n in (1, 2)]
    rows = "".join(f"{n}\t?\tx\ty\tA\t{text}\n" for n, text in enumerate(texts, 1))
    file = write("t.tsv", "index\tquestion\tA\tB\tanswer\timage\n" + rows)
    return {"data_path": str(file), "data_bench": "choice_table"}


@pytest.mark.parametrize(
    "place", ["files", "parquet of a data set", "parquet of a benchmark", "base64 in TSV"]
)
def test_a_judge_gets_the_very_pictures_and_stored_replies_hold_their_digests(place, serve, write, tmp_path):
    answers, others = (
        [{"id": str(n), "prompt": "?", "response": f"{whose} answer {n}"} for n in (1, 2)]
        for whose in ("this", "that")
    )
    config = judge.JudgeConfig(
        "win_rate",
        str(write("ours.jsonl", lines(*answers))),
        "endpoint",
        baseline=str(write("theirs.jsonl", lines(*others))),
        judge_images=True,
        output=str(tmp_path / "score.json"),
        **files_of(place, write, tmp_path),
    )
    server = serve((200, "[[A]]", 0))
    judge.main(config, EndpointConfig(judge_url=server.url, judge_model="m"))
    shown = {}
    for request in server.requests:
        text = request[2]["messages"][0]["content"][-1]["text"]
        shown.setdefault("1" if "answer 1" in text else "2", []).append(pictures_in(request))
    assert shown == {"1": [[encoded(1)]] * 2, "2": [[encoded(2)]] * 2}
    written = json.loads((tmp_path / "score.json").read_text())
    assert (written["settings"]["images"], written["settings"]["image_side"]) == (True, 0)
    kept = (tmp_path / "score.json.replies.jsonl").read_text()
    assert "sha256:" in kept and "base64" not in kept
    asked = len(server.requests)
    judge.main(config, EndpointConfig(judge_url=server.url, judge_model="m"))  # all replies are kept
    judge.main(replace(config, judge="replay"), EndpointConfig())
    assert len(server.requests) == asked
    assert json.loads((tmp_path / "score.json").read_text())["metrics"] == written["metrics"]


LLAVA_RULES = {"conv": {"role": "Helper", "prompt": "rate"}}
MMHAL = {"question_type": "a", "image_content": ["cat"], "question": "?", "gt_answer": "a cat"}
CAPS = {"image": "000000000042.jpg", "captions": ["A cat."], "instances": []}


@pytest.mark.parametrize("bench", ["mmhal", "llava_bench", "refomb"])
def test_the_judge_of_each_benchmark_can_see_its_pictures(bench, serve, write, tmp_path):
    truth = {
        "mmhal": {"t.json": [MMHAL | {"image_src": "https://host/x/a.png", "id": 0}]},
        "llava_bench": {
            "t/qa90_questions.jsonl": lines(
                {"question_id": 0, "image": "000000000042.jpg", "text": "?", "category": "conv"}
            ),
            "t/qa90_gpt4_answer.jsonl": lines({"question_id": 0, "text": "cat"}),
            "t/caps_boxes_coco2014_val_80.jsonl": lines(CAPS),
        },
        "refomb": {"t.jsonl": lines(REFOMB[0])},
    }[bench]
    for name, content in truth.items():
        file = write(name, content)
    prompt = {"mmhal": "{} {} {} {}", "llava_bench": json.dumps(LLAVA_RULES), "refomb": "{} {} {} {}"}[bench]
    for name in ("a.png", "COCO_val2014_000000000042.jpg"):
        write(f"pictures/{name}", encoded(3))
    config = judge.JudgeConfig(
        bench,
        str(write("p.jsonl", lines({"id": "0", "response": "a cat"}))),
        "endpoint",
        truth=str(file.parent if bench == "llava_bench" else file),
        judge_prompt=str(write("prompt", prompt)),
        judge_images=True,
        image_folder=str(tmp_path / "pictures"),
        output=str(tmp_path / "s.json"),
    )
    server = serve((200, "8 9\nRating: 4 [[A]]", 0))
    judge.main(config, EndpointConfig(judge_url=server.url, judge_model="m"))
    (request,) = server.requests
    assert pictures_in(request) == [encoded(3)]
    sent = request[2]["temperature"], request[2]["max_tokens"]
    assert sent == {"mmhal": (0, 1024), "llava_bench": (0.2, 1024), "refomb": (1e-5, 2048)}[bench]


def test_what_an_endpoint_may_read_otherwise_is_written_anew(write):
    """Turned by EXIF, with transparency, of another format, or too large: what the models here see."""
    exif = Image.Exif()
    exif[0x0112] = 6
    clear = picture().convert("RGBA")
    clear.putalpha(7)
    content = io.BytesIO()
    clear.save(content, "PNG")
    plain = encoded(0, "JPEG", quality=80)
    assert data_url(plain) == f"data:image/jpeg;base64,{base64.b64encode(plain).decode()}"
    for odd in (encoded(0, "JPEG", exif=exif), content.getvalue(), encoded(0, "BMP"), picture()):
        head, _, text = data_url(odd).partition(",")
        shown = Image.open(io.BytesIO(base64.b64decode(text)))
        assert head == "data:image/png;base64" and shown.tobytes() == open_image(odd).tobytes()
    small = Image.open(
        io.BytesIO(base64.b64decode(data_url(write("a.png", encoded()), 20).partition(",")[2]))
    )
    assert small.size == (20, 15)  # of 40 by 30


def test_pictures_that_can_not_be_found_are_told(serve, write):
    line = lines({"id": "9", "prompt": "?", "response": "a"})
    flags = {"predictions": str(write("p.jsonl", line)), "baseline": str(write("b.jsonl", line))}
    config = judge.JudgeConfig("win_rate", judge="endpoint", judge_images=True, **flags)
    with pytest.raises(DataError, match="--data_path: needed by --bench win_rate"):
        judge.main(config, EndpointConfig(judge_model="m"))
    row = {"id": 1, "conversations": [{"from": "human", "value": "?"}]}
    data = str(write("d.json", [row]))
    with pytest.raises(DataError, match="--judge_images: no question 9 in --data_path"):
        judge.main(replace(config, data_path=data), EndpointConfig(serve((200, "", 0)).url, "m"))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (None, "'2.png' is not in"),
        (b"no picture", "2.png' is not a picture"),
        (encoded(2)[:-400], "can't be decoded"),
    ],
)
def test_a_bad_picture_is_one_counted_failure_with_its_id(bad, told, serve, write, tmp_path):
    rows = [
        {"id": f"q{n}", "image": f"{n}.png", "conversations": [{"from": "human", "value": "?"}]}
        for n in (1, 2)
    ]
    write("pictures/1.png", encoded(1))
    if bad is not None:
        write("pictures/2.png", bad)
    answers = [{"id": f"q{n}", "prompt": "?", "response": "a"} for n in (1, 2)]
    config = judge.JudgeConfig(
        "win_rate",
        str(write("ours.jsonl", lines(*answers))),
        "endpoint",
        baseline=str(write("theirs.jsonl", lines(*answers))),
        judge_images=True,
        data_path=str(write("asked.json", ["no record", *rows])),
        image_folder=str(tmp_path / "pictures"),
        output=str(tmp_path / "score.json"),
    )
    server = serve((200, "[[C]]", 0))
    asked = EndpointConfig(judge_url=server.url, judge_model="m")
    judge.main(config, asked)
    assert {content for request in server.requests for content in pictures_in(request)} == {encoded(1)}
    num_asked = len(server.requests)
    for by in ("endpoint", "replay"):
        judge.main(replace(config, judge=by), asked)
        written = json.loads((tmp_path / "score.json").read_text())
        assert (written["metrics"]["win_rate"], written["n"], written["parse_failures"]) == (50, 2, 2)
        (warning,) = (text for text in written["warnings"] if "got no reply" in text)
        assert warning.startswith("1 questions got no reply: id q2: not asked") and told in warning
    assert len(server.requests) == num_asked
