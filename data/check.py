"""A look at data before a run: what they hold, what a stage would refuse, cut or learn by mistake.

    python -m data.check --data_path pairs.json --from_checkpoint models/sft --stage dpo --output check.html

Prints counts, lengths, repetitions, what gives ranked answers away, and warnings in sentences; with --output the same
and some records as the model sees them go into one HTML page. A bad record is part of what is told, never the end.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data.survey import counts, duplicates, preferences
from data.survey.choice import choose
from data.survey.measure import Measurer, Measures, measure
from data.survey.table import Part, as_text
from data.survey.view import View, view
from eval.page import image_uri, render_page
from training.utils.config.data_config import DataConfig
from training.utils.config.flags import flag, require
from training.utils.config.model_config import ModelConfig
from training.utils.data.check import HEADERS_ABOVE, require_folder
from training.utils.data.encode import Encoder
from training.utils.data.entries import Entries, read_entries
from training.utils.data.failures import Failure, failure
from training.utils.data.reader import Reader
from training.utils.data.record import DataError
from training.utils.data.records import draw
from training.utils.loop.prepare import build_encoder
from training.utils.process import dist
from training.utils.process.cli import run_stage

PAGE = Path(__file__).parent / "templates" / "check.html.j2"


@dataclass(frozen=True)
class Stage:
    """What a stage takes of a record."""

    min_responses: int
    max_responses: int | None  # none: all
    learned: str  # what an answer's tokens are to it, for the page
    learns_history: bool = False  # earlier answers of a conversation too


STAGES = {
    "sft": Stage(1, None, "answers, learned", learns_history=True),
    "rm": Stage(2, None, "answers, scored at their last token"),
    "dpo": Stage(2, None, "answers, learned"),
    "ppo": Stage(0, 0, "answers"),
    "predict": Stage(0, 0, "answers"),
}


@dataclass(frozen=True)
class CheckConfig(DataConfig, ModelConfig):
    """A look at the data."""

    stage: str = flag("sft", f"Stage that the data are for: {', '.join(STAGES)}.")
    output: str = flag("", "HTML file to write; none: only print.", writes="file")
    samples: int = flag(100_000, "Most records to look at, drawn at random by --seed; 0: all.")
    strict: bool = flag(False, "End with status 2 if there are bad records.")
    # What decides how a run goes on is of no use here.
    data_weights: ClassVar[list[float]] = []
    dataset_samples: ClassVar[str] = "all"
    on_bad_record: ClassVar[str] = "skip"
    num_workers: ClassVar[int] = -1
    precision: ClassVar[str] = "auto"
    attn_implementation: ClassVar[str] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.stage in STAGES, f"--stage {self.stage}: unknown; expected one of {', '.join(STAGES)}")
        require(self.samples >= 0, f"--samples {self.samples}: expected 0 or more")


@dataclass(frozen=True)
class Survey:
    """All that was found."""

    about: str
    measures: list[Measures]
    failures: list[Failure]
    parts: list[Part]

    @property
    def warnings(self) -> list[str]:
        return [warning for part in self.parts for warning in part.warnings]


def main(config: CheckConfig) -> None:
    encoder = build_encoder(config, config.from_checkpoint)
    stage, entries = STAGES[config.stage], read_entries(config.data_path)
    require_folder(config.image_folder)
    reader = Reader(
        stage.min_responses,
        stage.max_responses,
        image_folder=config.image_folder or None,
        columns=config.renamed_columns,
    )
    survey = look_at(config, entries, reader, encoder)
    print("\n\n".join([survey.about, *as_sentences(survey.warnings), *tables_as_text(survey.parts)]))
    if config.output:
        views, failures = as_seen(survey.measures, entries, reader, encoder, stage, config.seed)
        for each in failures:
            print(f"left out of the page: {each}")
        output = Path(config.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page(survey, views, stage, config), encoding="utf-8")
        print(f"\npage: {output}")
    if config.strict and survey.failures:
        sys.exit(2)


def look_at(config: CheckConfig, entries: Entries, reader: Reader, encoder: Encoder) -> Survey:
    """Measures every record, or a draw of them, and puts together what the measures say."""
    places = draw(len(entries), config.samples or None, config.seed)
    verify_images = config.verify_images
    if verify_images == "auto":
        verify_images = "full" if len(places) <= HEADERS_ABOVE else "header"
    found, failures = measure(entries, places, reader, Measurer(encoder, verify_images), dist.cores())
    where = [entries.where(each.place) for each in found]
    contents = duplicates.same_pictures(found, dist.cores()) if verify_images == "full" else {}
    drawn = f", drawn at random from {len(entries):,} (--samples)" if len(places) < len(entries) else ""
    return Survey(
        f"{len(places):,} records{drawn} of {config.data_path}, as --stage {config.stage} reads them with "
        f"{config.from_checkpoint}, template {encoder.template_name}, --max_seq_len {config.max_seq_len:,}; pictures "
        f"checked: {verify_images}",
        found,
        failures,
        [
            counts.refusals(failures, len(places)),
            counts.counts(entries, found, failures),
            counts.lengths(found, config.max_seq_len),
            counts.special_words(found),
            preferences.preferences(found, where),
            duplicates.duplicates(found, where, contents),
            counts.pictures(found, failures, encoder.processor),
            duplicates.repeated_pictures(contents),
        ],
    )


def as_seen(
    found: Sequence[Measures], entries: Entries, reader: Reader, encoder: Encoder, stage: Stage, seed: int
) -> tuple[list[View], list[Failure]]:
    """Some records as the model sees them, and what could not be shown."""
    views, failures = [], []
    for measures, why in choose(found, seed):
        try:
            record = reader.read(entries, measures.place)
            views.append(view(encoder, record, why, stage.learns_history))
        except DataError as error:
            failures.append(failure(entries.where(measures.place), None, error))
    return views, failures


def page(survey: Survey, views: Sequence[View], stage: Stage, config: CheckConfig) -> str:
    return render_page(
        PAGE,
        {"uri": image_uri},
        title=f"A look at {config.data_path}",
        about=survey.about,
        warnings=survey.warnings,
        tables=[table for part in survey.parts for table in part.tables],
        views=views,
        learned=stage.learned,
    )


def as_sentences(warnings: Sequence[str]) -> list[str]:
    return ["\n".join(f"! {warning}" for warning in warnings)] if warnings else []


def tables_as_text(parts: Sequence[Part]) -> list[str]:
    return [as_text(table) for part in parts for table in part.tables]


if __name__ == "__main__":
    run_stage(main, CheckConfig)
