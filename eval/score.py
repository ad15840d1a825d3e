"""Scores predictions: `python -m eval.score --bench pope --truth FILE... --predictions FILE --output FILE`.

`--truth` takes the official files of a benchmark, or the folder that they lie in (eval/README.md). The figure is
printed with all that it depends on, and the JSON file holds the same:

    {"bench", "variant", "metrics", "intervals", "groups", "n", "asked", "answered", "parse_failures", "generation",
     "warnings", "predictions", "truth", "model", "versions", "per_item"}
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from eval import legacy
from eval.benches.scored import Answers, best_alone, match
from eval.benches.table import BENCHES, Bench, get_bench
from eval.provenance import generation, provenance
from eval.uncertainty import intervals
from training.utils.config.flags import flag
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError
from training.utils.process.command import run_command


@dataclass(frozen=True)
class ScoreConfig:
    bench: str = field(metadata={"help": f"One of {', '.join(BENCHES)}."})
    truth: list[str] = field(metadata={"help": "Official files of the benchmark, or their folder."})
    predictions: str = field(
        metadata={"help": "JSON Lines of eval/predict.py or reward_model/score.py, or an old .res."}
    )
    output: str = flag("", "JSON file to write; none: only print.", writes="file")
    best: bool = field(default=False, metadata={"help": "Score `response`, the best of the samples, alone."})
    parser: str = field(
        default="", metadata={"help": "How an answer is read; none: the benchmark's default."}
    )
    synonyms: str = field(default="", metadata={"help": "CHAIR: file of lines `class, synonym, synonym`."})
    similarity: str = field(default="", metadata={"help": "AMBER: exact (default) or spacy."})
    nouns: str = field(default="", metadata={"help": "AMBER: vocabulary (default) or nltk."})

    def options(self, bench: Bench) -> dict[str, Any]:
        """What was asked of the scorer.

        Raises:
            DataError: the benchmark has no such option, or needs one that is not there, or the value means nothing.
        """
        given = {name: getattr(self, name) for name in OPTIONS if getattr(self, name)}
        for name in given.keys() - bench.options.keys():
            known = ", ".join(f"--{option}" for option in bench.options) or "none"
            raise DataError(f"--{name}: no option of {self.bench}, which has {known}")
        for name in set(bench.needs) - given.keys():
            raise DataError(f"--{name}: missing; {self.bench} needs it (eval/README.md)")
        return {name: bench.options[name](value) for name, value in given.items()}


OPTIONS = sorted({name for bench in BENCHES.values() for name in bench.options})


def read_predictions(path: str, best: bool) -> list[dict]:
    if not Path(path).is_file():
        raise DataError(f"{path}: no such file; eval.predict writes it")
    lines = list((legacy.read_legacy if legacy.is_legacy(Path(path)) else read_entries)(Path(path)))
    for number, line in enumerate(lines, 1):
        if (
            not isinstance(line, dict)
            or "id" not in line
            or not {"response", "responses", "scores"} & set(line)
        ):
            raise DataError(f"{path}: line {number}: expected an object with `id` and `response` or `scores`")
    return [*map(best_alone, lines)] if best else lines


def mean_words(answers: Answers) -> dict[str, float]:
    """The mean length of the answers that are texts: a rate of hallucination means little without it."""
    lengths = [len(text.split()) for texts in answers.values() for text in texts if isinstance(text, str)]
    return {"words": fmean(lengths)} if lengths else {}


def report(config: ScoreConfig) -> dict:
    """Everything about the score of some predictions."""
    bench = get_bench(config.bench)
    if bench.judged:
        raise DataError(f"--bench {config.bench}: needs a judge; use python -m eval.judge")
    options = config.options(bench)
    questions = bench.questions(config.truth)
    answers, warnings = match(questions, read_predictions(config.predictions, config.best), bench.read)
    scored = bench.score(questions, answers, **options)
    if not scored.n and answers:
        why = "; ".join(scored.warnings)
        raise DataError(
            f"{config.predictions}: none of its {len(answers)} answers counts, so no figure: {why}"
        )
    if not scored.n:
        raise DataError(f"{config.predictions}: answers none of the questions of {', '.join(config.truth)}")
    return {
        "bench": config.bench,
        **asdict(scored),
        "metrics": scored.metrics | mean_words(answers),
        "n": scored.n,
        "asked": len(questions),
        "answered": len(answers),
        "generation": generation(Path(config.predictions)),
        "warnings": warnings + scored.warnings,
        "intervals": intervals(scored.per_item, bench.rates) if bench.rates else {},
        **provenance(config.predictions, config.truth),
    }


def show(result: dict) -> str:
    """The result in a few lines: warnings, what the figure depends on, the figure, its parts."""

    def figures(metrics: dict) -> str:
        shown = {name: value if isinstance(value, int) else f"{value:.1f}" for name, value in metrics.items()}
        return "  ".join(f"{name} {value}" for name, value in shown.items())

    made = ", ".join(f"{name} {value}" for name, value in result["generation"].items())
    coverage = 100 * result["answered"] / result["asked"]
    lines = [f"warning: {warning}" for warning in result["warnings"]]
    lines.append(f"{result['bench']}: {result['variant']}")
    lines.append(f"  generation: {made or 'not known: no .args.json beside the predictions'}")
    lines.append(
        f"  answered {result['answered']} of {result['asked']} questions ({coverage:.1f} %), {result['n']} answers, "
        f"{result['parse_failures']} that could not be read"
    )
    if len(result["groups"]) > 1:
        lines += [f"  {name}: {figures(group)}" for name, group in result["groups"].items()]
    lines.append(f"{result['bench']}, {result['n']} answers: {figures(result['metrics'])}")
    if found := result.get("intervals"):
        shown = "  ".join(f"{name} {low:.1f} to {high:.1f}" for name, (low, high) in found.items())
        lines.append(f"  95 % interval by the choice of questions: {shown}")
    return "\n".join(lines)


def main(config: ScoreConfig) -> None:
    result = report(config)
    print(show(result))
    if config.output:
        Path(config.output).parent.mkdir(parents=True, exist_ok=True)
        Path(config.output).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    run_command(main, ScoreConfig)
