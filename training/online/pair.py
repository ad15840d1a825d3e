"""Sampled answers and their scores to records to learn from (pairing.py says how, and from which papers).

    python -m training.online.pair --samples samples.jsonl --scores scores.jsonl --output train.jsonl \\
        --pick pairs --pairs_per_prompt 2 --margin 1 --balance_lengths

`--samples` is of eval.predict --data_output, or any JSON Lines of that form with several answers; each line of
`--scores` has the `scores` of the answers of a record, in its order, as training.online.score and
training.reward_model.score write them. Beside the output a summary says what was kept: train.summary.json.
"""

import json
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean

from training.online.pairing import Choice, balance_lengths, best, best_and_worst, ranked, sampled_pairs
from training.utils.config.flags import flag, require, require_effect, require_other_file
from training.utils.data.entries import read_entries
from training.utils.data.record import DataError
from training.utils.files import jsonl
from training.utils.files.whole import write_whole
from training.utils.process.command import run_command

PICKS = ("best_worst", "pairs", "ranked", "best")


@dataclass(frozen=True)
class PairConfig:
    samples: str = flag(help="JSON Lines of eval.predict --data_output.")
    scores: str = flag(help="JSON Lines with the scores of their answers.")
    output: str = flag(help="JSON Lines file of records to write.", writes="file")
    pick: str = flag(
        "best_worst",
        "best_worst: the best against the worst answer; pairs: several pairs; ranked: all answers, the best first; "
        "best: the best alone, to imitate.",
    )
    pairs_per_prompt: int = flag(
        2, "With --pick pairs: pairs of a prompt at most, drawn at random.", needs={"pick": ("pairs",)}
    )
    margin: float = flag(
        0.0,
        "Least difference of the scores of a pair; 0: they must differ.",
        needs={"pick": ("best_worst", "pairs", "ranked")},
    )
    least_score: float | None = flag(
        None, "With --pick best: the lowest score to imitate.", needs={"pick": ("best",)}
    )
    balance_lengths: bool = flag(
        False,
        "Leave out pairs until the better answers are as long as the worse ones (RLAIF-V).",
        needs={"pick": ("best_worst", "pairs")},
    )
    seed: int = flag(0, "Seed of what is drawn.")

    def __post_init__(self) -> None:
        require(self.pick in PICKS, f"--pick {self.pick}: unknown; expected one of {', '.join(PICKS)}")
        require(self.pairs_per_prompt >= 1, f"--pairs_per_prompt {self.pairs_per_prompt}: expected 1 or more")
        require(self.margin >= 0, f"--margin {self.margin:g}: expected 0 or more")
        require_effect(self)
        for name in ("samples", "scores"):
            require_other_file("output", self.output, name, getattr(self, name))


@dataclass(frozen=True)
class Scored:
    """The answers to a prompt."""

    entry: dict  # the record, which holds them
    answers: list[str]  # all different
    scores: list[float]
    times: list[int]  # how often each was sampled
    all_scores: list[float]  # of all that were sampled: of equal answers a judge may think differently

    @property
    def lengths(self) -> list[int]:
        """In words."""
        return [max(1, len(answer.split())) for answer in self.answers]

    def record(self, choice: Choice, number: int) -> dict:
        """The record with some of its answers, the best first."""
        answers, scores = ([values[place] for place in choice] for values in (self.answers, self.scores))
        *asked, _ = self.entry["conversations"]
        value = answers if len(answers) > 1 else answers[0]
        name = f"{self.entry['id']}-{number}" if number else self.entry["id"]
        found = self.entry | {"id": name, "conversations": [*asked, {"from": "gpt", "value": value}]}
        return found | ({"scores": scores} if len(answers) > 1 else {})


def read_scored(samples: Path, scores: Path) -> Iterator[Scored]:
    """The answers of each record with their scores; of equal answers the first.

    Raises:
        DataError: the files do not belong together, or a score is no number.
    """
    entries, lines = read_entries(samples), jsonl.read(scores)
    if len(entries) != len(lines):
        raise DataError(
            f"{scores}: holds {len(lines)} lines, and {samples} {len(entries)} records; expected the scores of "
            "these answers"
        )
    for place, (entry, line) in enumerate(zip(entries, lines, strict=True)):
        try:
            name, answers, given = entry["id"], entry["conversations"][-1]["value"], line["scores"]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{samples}[{place}]: has no {error}, or its scores have none") from None
        if "scores" in entry:
            raise DataError(f"{samples}[{place}] id={name}: holds scores already; leave out the key `scores`")
        answers = answers if isinstance(answers, list) else [answers]
        if line.get("id") != name or not isinstance(given, list) or len(given) != len(answers):
            raise DataError(
                f"{scores}: line {place + 1} has id={line.get('id')} and scores {given}; expected {len(answers)} "
                f"for id={name} of {samples}"
            )
        if not all(isinstance(score, int | float) and math.isfinite(score) for score in given):
            raise DataError(f"{scores}: line {place + 1}: scores {given}; expected finite numbers")
        first = {text.strip(): score for text, score in reversed(list(zip(answers, given, strict=True)))}
        times = Counter(text.strip() for text in answers)  # in the order of the first of each
        scored = [float(first[text]) for text in times]
        yield Scored(entry, list(times), scored, list(times.values()), [*map(float, given)])


def choose(scored: Scored, config: PairConfig) -> list[Choice]:
    """What is learned of the answers to a prompt."""
    match config.pick:
        case "best_worst":
            return best_and_worst(scored.scores, config.margin)
        case "pairs":
            rng = random.Random(f"{config.seed} {scored.entry['id']}")
            return sampled_pairs(scored.scores, config.pairs_per_prompt, rng, config.margin)
        case "ranked":
            return ranked(scored.scores, config.margin)
        case _:
            return best(scored.scores, config.least_score)


def main(config: PairConfig) -> None:
    prompts = list(read_scored(Path(config.samples), Path(config.scores)))
    chosen = [(scored, choice) for scored in prompts for choice in choose(scored, config)]
    if (
        config.pick == "best"
        and config.least_score is None
        and not any(len({*p.scores}) > 1 for p in prompts)
    ):
        chosen = []  # the first would be as good as any
    kept = chosen
    if config.balance_lengths and chosen:
        lengths = [tuple(scored.lengths[place] for place in choice) for scored, choice in chosen]
        kept = [one for one, stays in zip(chosen, balance_lengths(lengths), strict=True) if stays]
    if not kept:
        raise DataError(
            f"{config.scores}: nothing to learn of {len(prompts)} prompts: the answers to each are alike, or their "
            "scores are less than --margin apart, or below --least_score; sample more answers or at a higher "
            "temperature, or lower it"
        )
    records = [
        scored.record(choice, number)
        for _, of_prompt in groupby(kept, key=lambda one: id(one[0]))
        for number, (scored, choice) in enumerate(of_prompt)
    ]
    summary = summarise(prompts, chosen, kept)
    for file, text in (
        (Path(config.output).with_suffix(".summary.json"), json.dumps(summary, indent=1) + "\n"),
        (Path(config.output), "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)),
    ):
        write_whole(file, text)
    print(f"{config.output}: {', '.join(f'{name} {shown(value)}' for name, value in summary.items())}")


def summarise(
    prompts: list[Scored], chosen: list[tuple[Scored, Choice]], kept: list[tuple[Scored, Choice]]
) -> dict[str, float]:
    """What was sampled, and what is learned: counts, and means of scores and words."""
    times = [count for scored in prompts for count in scored.times]
    firsts = [(scored.scores[choice[0]], scored.lengths[choice[0]]) for scored, choice in kept]
    lasts = [(scored.scores[choice[-1]], scored.lengths[choice[-1]]) for scored, choice in kept]
    return {
        "prompts": len(prompts),
        "answers": sum(times),
        "different_answers": len(times),
        "prompts_used": len({id(scored) for scored, _ in kept}),
        "records": len(kept),
        "left_out_by_length": len(chosen) - len(kept),
        "score_of_all": fmean(score for scored in prompts for score in scored.all_scores),
        "words_of_all": fmean((words for scored in prompts for words in scored.lengths), times),
        "score_of_best": fmean(score for score, _ in firsts),
        "score_of_worst": fmean(score for score, _ in lasts),
        "words_of_best": fmean(words for _, words in firsts),
        "words_of_worst": fmean(words for _, words in lasts),
    }


def shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3g}"


if __name__ == "__main__":
    run_command(main, PairConfig)
