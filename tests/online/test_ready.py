"""What run_online.sh looks at before the first answer is sampled."""

import json

import pytest

from tests.conftest import SAMPLES
from training.online.ready import ReadyConfig, main
from training.utils.config.flags import ConfigError
from training.utils.data.record import DataError
from training.utils.run.identity import Identity
from training.utils.run.run_record import RunRecord

REWARD = " --reward_functions scripts.planted.rewards:long"


def ready(model, output, **more):
    given = {"model": str(model), "data": str(SAMPLES / "ppo.json"), "output": str(output), "rounds": 2}
    given |= {"samples": 3, "flags": " --online false --beta 0.2", "score_flags": REWARD}
    main(ReadyConfig(**given | more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"data": "[]"}, "holds no prompts"),
        ({"data": "three", "rounds": 4}, "3 prompts can't be divided among --rounds 4"),
        ({"sample_flags": " --dataset_samples 1"}, "1 prompts can't be divided among --rounds 2"),
        (
            {"stage": "sft", "flags": "", "pair_flags": " --pick best", "samples": 1},
            "is the best whatever it is",
        ),
        ({"pair_flags": " --pick pairs --pick ranked"}, "has --pick twice; expected it as PICK"),
        (
            {"pair_flags": " --pick pairs --output=x"},
            "--output: is set by the rounds; leave it out of --pick",
        ),
        ({"sample_flags": " --data_path x"}, "--data_path: is set by the rounds"),
        ({"flags": " --output-dir x"}, "--output_dir: is set by the rounds"),
        ({"eval": "nowhere.json"}, "nowhere.json: no such file"),
        ({"eval": str(SAMPLES / "ppo.json"), "bench_flags": " --bench popes --truth x"}, "popes"),
        ({"eval": str(SAMPLES / "ppo.json"), "bench_flags": " --bench pope --truth nowhere"}, "nowhere"),
        (
            {"eval": str(SAMPLES / "ppo.json"), "bench_flags": " --bench chair --truth x"},
            "--synonyms: missing",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_would_fail_later_is_told_at_once(tiny_llava, tmp_path, more, message):
    prompts = json.loads((SAMPLES / "ppo.json").read_text())
    for name, few in (("[]", []), ("three", prompts[:3])):
        file = tmp_path / f"{len(few)}.json"
        file.write_text(json.dumps(few))
        if more.get("data") == name:
            more = more | {"data": str(file)}
    with pytest.raises(DataError, match=message):
        ready(tiny_llava, tmp_path, **more)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reference": "fixed"}, "--reference fixed: unknown; expected previous or start"),
        ({"prompts": "some"}, "--prompts some: unknown; expected parts or all"),
        ({"stage": "sft", "reference": "start"}, "--reference start: not with --stage sft"),
        ({"bench_flags": " --bench pope --truth x"}, "without prompts to measure on; give EVAL too"),
        ({"bench_flags": "  --truth x "}, "--bench_flags --truth x: nothing is measured"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_nobody_would_read_are_refused(tiny_llava, tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        ready(tiny_llava, tmp_path, **more)


@pytest.mark.parametrize(
    ("before", "more", "message"),
    [
        ("1/3", {}, "begun with PROMPTS=parts and ROUNDS=3"),
        ("1/2", {"prompts": "all"}, "begun with PROMPTS=parts and ROUNDS=2"),
        ("", {}, "begun with PROMPTS=all and ROUNDS=any number"),
        ("1/2", {}, None),
        ("", {"prompts": "all", "rounds": 7}, None),
    ],
    ids=str,
)
def test_rounds_that_go_on_answer_the_prompts_they_began_with(tiny_llava, tmp_path, before, more, message):
    """More rounds would divide the prompts anew: those that some round has learned from already would come again."""
    (tmp_path / "round-1").mkdir()
    RunRecord({"part": before}, Identity({}, {}), []).write(tmp_path / "round-1" / "answers.args.json")
    if message is None:
        ready(tiny_llava, tmp_path, **more)
    else:
        with pytest.raises(DataError, match=message):
            ready(tiny_llava, tmp_path, **more)
