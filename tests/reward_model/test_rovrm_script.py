"""The three phases with selected data, as a user starts them."""

import json
from pathlib import Path

from tests.conftest import SAMPLES, run_script


def test_phases_follow_each_other_on_selected_data_and_a_second_run_repeats_nothing(tiny_llava, tmp_path):
    entries = json.loads((SAMPLES / "reward.json").read_text())
    files = {"VISUAL": entries[:6]}
    for name, kept in (("TEXT", entries[8:20]), ("CAPTIONED", entries[20:])):
        texts = [{key: value for key, value in entry.items() if key != "image"} for entry in kept]
        for entry in texts:
            entry["conversations"][0]["value"] = f"{name}. What is in the picture?"
        files[name] = texts
    settings = {
        "MODEL": tiny_llava,
        "OUTPUT": tmp_path / "out",
        "IMAGES": SAMPLES,
        "ZERO_STAGE": 0,
        "BATCH": 2,
    }
    settings |= {"KEEP_TEXT": 5, "KEEP_CAPTIONED": 4, "SELECTOR_CANDIDATES": 3, "SELECTOR_TARGET": 4}
    settings |= {"SELECTOR_FLAGS": "--lang_lora_dim 4", "SELECT_FLAGS": "--projection_dim 16"}
    for name, content in files.items():
        settings[name] = tmp_path / f"{name}.json"
        settings[name].write_text(json.dumps(content))

    def rovrm() -> str:
        flags = ["--max_steps", "1", "--max_seq_len", "256"]
        done = run_script("scripts/rovrm.sh", *flags, DS_ACCELERATOR="cpu", **settings)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    rovrm()
    out = tmp_path / "out"

    def used(stage: str) -> tuple[Path, Path]:
        arguments = json.loads((out / stage / "args.json").read_text())["arguments"]
        return Path(arguments["from_checkpoint"]), Path(arguments["data_path"])

    assert used("phase-1-text") == (tiny_llava, out / "text.json")
    assert used("phase-2-captioned") == (out / "phase-1-text", out / "captioned.json")
    assert used("visual") == (out / "phase-2-captioned", settings["VISUAL"])
    for name, source, count in (("text", "TEXT", 5), ("captioned", "CAPTIONED", 4)):
        kept = json.loads((out / f"{name}.json").read_text())
        assert len(kept) == count and all(entry in files[source] for entry in kept)
        assert used(f"selector-{name}")[0] == tiny_llava
    ids = {entry["id"] for entry in json.loads((out / "selector-text.json").read_text())}
    # Textual data are chosen for the captioned ones that were kept: all four of them are in its warm-up.
    assert {entry["id"] for entry in json.loads((out / "captioned.json").read_text())} < ids
    kept = (out / "text.json").stat().st_mtime_ns
    assert rovrm().count("finished before; nothing to do") == 5  # three phases, two selecting models
    assert (out / "text.json").stat().st_mtime_ns == kept
