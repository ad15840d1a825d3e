"""Scores predictions by what a judge says of them.

python -m eval.judge --bench mmhal --truth mmhal-bench_answer_template.json --predictions FILE \\
    --judge endpoint --judge_url https://HOST/v1 --judge_model NAME --judge_prompt FILE --output FILE

The endpoint's key comes from the environment variable JUDGE_API_KEY alone. Replies are kept in --judge_replies: a run
that was stopped goes on from there, and `--judge replay` needs no endpoint. Figures of different judges, or of
different prompts (`prompt_sha256`), can't be compared.
"""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from eval.benches import llava_bench, mmhal, refomb, win_rate
from eval.benches.files import entries
from eval.benches.files import field as field_of
from eval.benches.scored import Scored, best_alone, match
from eval.benches.table import get_bench, rates_of
from eval.judge_config import JudgeConfig, with_official
from eval.judges import EndpointConfig, endpoint
from eval.provenance import generation, provenance
from eval.score import show
from eval.stored_replies import cached, replay
from eval.uncertainty import intervals
from training.utils.chat.client import Ask
from training.utils.chat.messages import Messages, Shown, nothing
from training.utils.data.record import DataError
from training.utils.process.command import run_command

if TYPE_CHECKING:
    from eval.judge_pictures import Pictures

OWN_PROMPT = Path(__file__).parent / "templates" / "win_rate.txt"


def replies_file(config: JudgeConfig) -> Path:
    return Path(config.judge_replies or (config.output or config.predictions) + ".replies.jsonl")


def build_judge(config: JudgeConfig, asked: EndpointConfig, pictures: "Pictures | None") -> tuple[str, Ask]:
    """The judge's name, and the judge."""
    file = replies_file(config)
    if config.judge == "replay":
        if not file.is_file():
            raise DataError(f"{file}: no such file; expected the replies that --judge endpoint wrote")
        return replay(file, asked.judge_model)
    ask = endpoint(asked)
    return asked.judge_model, cached(pictures.send_by(ask) if pictures else ask, file, asked)


def find_pictures(config: JudgeConfig) -> "Pictures":
    from eval.judge_pictures import pictures_of  # with it comes torch, which takes seconds

    bench = config.data_bench if config.bench == "win_rate" else config.bench
    return pictures_of(bench, config.data_path or config.truth, config.image_folder, config.judge_image_side)


def with_progress(ask: Ask) -> Ask:
    bar = tqdm(unit="reply")

    def shown(messages: Messages) -> str:
        reply = ask(messages)
        bar.update()
        return reply

    return shown


def judged(config: JudgeConfig, predictions: list[dict], ask: Ask, shown: Shown) -> tuple[Scored, int]:
    """What the bench makes of the judge's replies, and the number of its questions."""
    if config.bench == "win_rate":
        contexts = {str(line["id"]): line["context"] for line in read(config.truth, "id", "context")}
        baseline = read(config.baseline, "id", "prompt", "response")
        template = Path(config.judge_prompt or OWN_PROMPT).read_text()
        scored = win_rate.score(predictions, baseline, template, ask, contexts, shown)
        return scored, len({line["id"] for line in (*predictions, *baseline)})
    bench = get_bench(config.bench)
    questions = bench.questions([config.truth])
    answers, warnings = match(questions, predictions, bench.read)
    prompt = Path(config.judge_prompt).read_text()
    if config.bench == "mmhal":
        scored = mmhal.score(questions, answers, prompt, ask, config.parser, shown)
    elif config.bench == "refomb":
        trust = Path(config.judge_trust_prompt).read_text() if config.judge_trust_prompt else ""
        scored = refomb.score(questions, answers, prompt, ask, config.judge_system, trust, shown)
    else:
        rules = json.loads(prompt)
        scored = llava_bench.score(
            questions, answers, rules, ask, config.judge_system, config.swap, config.parser, shown
        )
    return replace(scored, warnings=warnings + scored.warnings), len(questions)


def by_rewards(config: JudgeConfig) -> tuple[Scored, int]:
    ours, theirs = (read(file, "id", "scores") for file in (config.predictions, config.baseline))
    return win_rate.score_rewards(ours, theirs), len({line["id"] for line in (*ours, *theirs)})


def read(file: str, *fields: str) -> list[dict]:
    """The lines of a file, each of which must hold some fields; none of no file."""
    if not file:
        return []
    lines = [(place, entry) for _, place, entry in entries([Path(file)])]
    for place, line in lines:
        for name in fields:
            field_of(line, name, f"{file}[{place}]")
    return [line for _, line in lines]


def run(config: JudgeConfig, asked: EndpointConfig) -> dict:
    """The figures as they are written: those of eval/score.py, and which judge gave them."""
    config.check()
    asked = with_official(asked, config.bench)
    if config.judge == "reward_model":
        name, (scored, total) = asked.judge_model or "reward_model", by_rewards(config)
    else:
        fields = ("id", "prompt", "response") if config.bench == "win_rate" else ("id", "response")
        predictions = read(config.predictions, *fields)
        if config.best:
            predictions = [*map(best_alone, predictions)]
        pictures = find_pictures(config) if config.judge_images else None
        name, ask = build_judge(config, asked, pictures)
        shown = pictures.parts if pictures else nothing
        scored, total = judged(config, predictions, with_progress(ask), shown)
    if not scored.per_item:
        raise DataError(f"{config.predictions}: answers none of the questions")
    unanswered = {item["id"]: item["failure"] for item in scored.per_item if "failure" in item}
    if not scored.metrics:
        why = next(iter(unanswered.values()), f"see {replies_file(config)}")
        raise DataError(f"none of the judge's {scored.n} replies can be read, so there is no figure: {why}")
    if unanswered:
        told = "; ".join(f"id {name}: {why}" for name, why in list(unanswered.items())[:5])
        more = "; and others" if len(unanswered) > 5 else ""
        scored = replace(
            scored, warnings=[*scored.warnings, f"{len(unanswered)} questions got no reply: {told}{more}"]
        )
    return {
        "bench": config.bench,
        "judge": name,
        **asdict(scored),
        "n": scored.n,
        "asked": total,
        "answered": len({item["id"] for item in scored.per_item}),
        "generation": generation(Path(config.predictions)),
        "settings": settings(config, asked),
        "intervals": intervals(scored.per_item, rates_of(config.bench)),
        **provenance(config.predictions, [config.truth, config.baseline]),
    }


def settings(config: JudgeConfig, asked: EndpointConfig) -> dict:
    """What else the figures depend on."""
    found = asked.settings if config.judge == "endpoint" else {}
    if config.judge != "reward_model":
        prompt = Path(config.judge_prompt or OWN_PROMPT).read_bytes()
        found |= {"prompt_sha256": hashlib.sha256(prompt).hexdigest()}
        if config.judge_images:
            found |= {"images": True, "image_side": config.judge_image_side}
    if config.judge_trust_prompt:
        trust = Path(config.judge_trust_prompt).read_bytes()
        found |= {"trust_prompt_sha256": hashlib.sha256(trust).hexdigest()}
    if config.best:
        found |= {"best": True}
    if config.bench in ("mmhal", "llava_bench"):
        found |= {"parser": config.parser}
    return found | ({"swap": config.swap} if config.bench == "llava_bench" else {})


def main(config: JudgeConfig, asked: EndpointConfig) -> None:
    result = run(config, asked)
    print(f"judge {result['judge']}")
    print(show(result))
    if config.output:
        Path(config.output).parent.mkdir(parents=True, exist_ok=True)
        Path(config.output).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main, JudgeConfig, EndpointConfig)
