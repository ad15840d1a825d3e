"""The benchmarks by name: `eval.predict` and `eval.score` know no more of them than this."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from eval.benches import (
    amber,
    amber_discriminative,
    amber_generative,
    chair,
    choice_table,
    choices,
    coco,
    crpe,
    dash_b,
    descriptions,
    hallusion_bench,
    llava_bench,
    mmhal,
    mmrb2,
    mmvp,
    natural_bench,
    pope,
    popev2,
    preferences,
    refomb,
    science_qa,
    win_rate,
)
from eval.benches.question import Question
from eval.benches.scored import Scored, responses
from eval.uncertainty import Rates
from training.utils.answers.coco_objects import read_vocabulary
from training.utils.data.record import DataError


@dataclass(frozen=True)
class Bench:
    load: Callable[[Sequence[Path]], list[Question]]
    score: Callable[..., Scored]  # of questions, answers and the options
    options: Mapping[str, Callable[[str], Any]] = field(
        default_factory=dict
    )  # flags of eval.score, and their readers
    needs: tuple[str, ...] = ()  # those that must be given
    read: Callable[[dict], list] = responses  # what of a line of predictions is the answer
    judged: bool = False  # its score asks a judge: eval.judge
    rates: Rates | None = None  # the figures again, from scored items, in each resample

    def questions(self, paths: Sequence[str]) -> list[Question]:
        """The questions of official files.

        Raises:
            DataError: a file can't be read, there is no question, or two have one id.
        """
        questions = self.load([Path(path) for path in paths])
        if not questions:
            raise DataError(f"{', '.join(paths)}: no question; expected official files of the benchmark")
        name, count = Counter(question.id for question in questions).most_common(1)[0]
        if count > 1:
            raise DataError(
                f"{', '.join(paths)}: {count} questions have the id {name!r}; expected an id of its own for each; "
                "was a file given twice?"
            )
        return questions


def one_of(names: Collection[str], flag: str) -> Callable[[str], str]:
    """Reads an option that is a name of a few."""

    def read(value: str) -> str:
        if value not in names:
            raise DataError(f"--{flag} {value}: unknown; expected one of {', '.join(names)}")
        return value

    return read


SYNONYMS = {"synonyms": lambda file: read_vocabulary(Path(file))}
AMBER_ANSWERS = {"parser": one_of(amber_discriminative.PARSERS, "parser")}
AMBER_TEXTS = {
    "similarity": one_of(amber_generative.SIMILARITIES, "similarity"),
    "nouns": one_of(amber_generative.NOUNS, "nouns"),
}
BENCHES = {
    "descriptions": Bench(descriptions.load, descriptions.score, rates=descriptions.rates),
    "pope": Bench(pope.load, pope.score, {"parser": one_of(pope.PARSERS, "parser")}, rates=pope.rates),
    "repope": Bench(
        partial(pope.load, is_repope=True),
        dash_b.score_repope,
        {"parser": one_of(dash_b.PARSERS, "parser")},
        rates=pope.rates,
    ),
    "dash_b": Bench(
        dash_b.load, dash_b.score, {"parser": one_of(dash_b.PARSERS, "parser")}, rates=dash_b.rates
    ),
    "chair": Bench(coco.load, chair.score, SYNONYMS, needs=("synonyms",), rates=chair.rates),
    "object_halbench": Bench(
        coco.load, chair.score_halbench, SYNONYMS, needs=("synonyms",), rates=chair.rates_halbench
    ),
    "amber": Bench(amber.load, amber.score, AMBER_ANSWERS | AMBER_TEXTS, rates=amber.rates),
    "amber_generative": Bench(
        amber.load_generative, amber_generative.score, AMBER_TEXTS, rates=amber_generative.rates
    ),
    "amber_discriminative": Bench(
        amber.load_discriminative, amber_discriminative.score, AMBER_ANSWERS, rates=amber_discriminative.rates
    ),
    "science_qa": Bench(
        science_qa.load,
        science_qa.score,
        {"parser": one_of(science_qa.PARSERS, "parser")},
        rates=choices.rates,
    ),
    "popev2": Bench(
        popev2.load, popev2.score, {"parser": one_of(pope.PARSERS, "parser")}, rates=popev2.rates
    ),
    "hallusion_bench": Bench(
        hallusion_bench.load,
        hallusion_bench.score,
        {"parser": one_of(hallusion_bench.PARSERS, "parser")},
        rates=hallusion_bench.rates,
    ),
    "mmvp": Bench(mmvp.load, mmvp.score, rates=mmvp.rates),
    "crpe": Bench(crpe.load, crpe.score, {"parser": one_of(crpe.PARSERS, "parser")}, rates=crpe.rates),
    "natural_bench": Bench(natural_bench.load, natural_bench.score, rates=natural_bench.rates),
    "choice_table": Bench(choice_table.load, choice_table.score, rates=choices.rates),
    "multiple_choice": Bench(choices.load, choices.score_letters, rates=choices.rates),
    "number": Bench(choices.load, choices.score_numbers, rates=choices.rates),
    "exact_match": Bench(choices.load, choices.score_words, rates=choices.rates),
    "mmhal": Bench(mmhal.load, mmhal.score, judged=True, rates=mmhal.rates),
    "llava_bench": Bench(llava_bench.load, llava_bench.score, judged=True, rates=llava_bench.rates),
    "refomb": Bench(refomb.load, refomb.score, judged=True, rates=refomb.rates),
    "preferences": Bench(preferences.load, preferences.score, read=preferences.read, rates=preferences.rates),
    "vl_rewardbench": Bench(
        partial(preferences.load, group=preferences.vl_rewardbench_group),
        preferences.score,
        read=preferences.read,
        rates=preferences.rates,
    ),
    "multimodal_rewardbench": Bench(
        partial(preferences.load, group=preferences.multimodal_rewardbench_group),
        preferences.score,
        read=preferences.read,
        rates=preferences.rates,
    ),
    "mmrb2": Bench(mmrb2.load, mmrb2.score, rates=mmrb2.rates),
}


def rates_of(name: str) -> Rates | None:
    """How the figures of a benchmark come from its scored items; none where that is not known."""
    return (
        win_rate.rates_of_resamples
        if name == "win_rate"
        else BENCHES[name].rates
        if name in BENCHES
        else None
    )


def get_bench(name: str) -> Bench:
    if name not in BENCHES:
        raise DataError(f"--bench {name}: unknown; expected one of {', '.join(BENCHES)}")
    return BENCHES[name]
