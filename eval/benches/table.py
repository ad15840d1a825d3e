"""The benchmarks by name: `eval.predict` and `eval.score` know no more of them than this."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from eval.benches import descriptions, pope
from eval.benches.question import Question
from eval.benches.scored import Scored, responses
from training.utils.data.record import DataError


@dataclass(frozen=True)
class Bench:
    load: Callable[[Sequence[Path]], list[Question]]
    score: Callable[..., Scored]  # of questions, answers and the options
    options: Mapping[str, Collection[str]] = field(
        default_factory=dict
    )  # flags of eval.score; values, if few
    read: Callable[[dict], list] = responses  # what of a line of predictions is the answer

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


BENCHES = {
    "descriptions": Bench(descriptions.load, descriptions.score),
    "pope": Bench(pope.load, pope.score, options={"parser": pope.PARSERS}),
}


def get_bench(name: str) -> Bench:
    if name not in BENCHES:
        raise DataError(f"--bench {name}: unknown; expected one of {', '.join(BENCHES)}")
    return BENCHES[name]
