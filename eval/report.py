"""Runs side by side: a table for the terminal, and one self-contained page with curves and pictures.

    python -m eval.report --runs SFT=scores/sft DPO=scores/dpo
    python -m eval.report --spec report.json --output report.html

The spec names what the page shows; the first run is what the others are compared to:

    {"title": ..., "runs": [{"name", "scores": {"greedy": FILE, "pope": FILE, ...}}],
     "figures": [{"name", "value"}], "logs": [{"title", "file": log.jsonl}], "pictures": [{"title", "file"}],
     "image_folder": FOLDER, "gallery": [{"title", "scores": "greedy", "questions": FILE}]}
"""

from dataclasses import dataclass, field
from pathlib import Path

from eval import tables
from eval.curves import HEIGHT, WIDTH, panels
from eval.gallery import OUTCOMES, Gallery, gallery, marked, read_questions
from eval.page import data_uri, render_page
from training.utils.config.flags import flag
from training.utils.data.json_text import read_json
from training.utils.data.record import DataError
from training.utils.process.command import run_command

__all__ = ["marked", "render"]
TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class ReportConfig:
    spec: str = field(default="", metadata={"help": "JSON file that names runs, scores, logs and pictures."})
    runs: list[str] = field(
        default_factory=list,
        metadata={"help": "NAME=FOLDER of score files, instead of a spec; the base first."},
    )
    output: str = flag(
        "", "HTML file to write, with a .md of the table beside it; none: only print.", writes="file"
    )


def read_spec(config: ReportConfig) -> dict:
    if bool(config.spec) == bool(config.runs):
        raise DataError("expected either --spec FILE or --runs NAME=FOLDER...")
    names = [run.partition("=")[0] for run in config.runs]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DataError(
            f"--runs: {', '.join(sorted(twice))} stands twice; expected a name of its own for each run"
        )
    if config.runs:
        runs = tables.in_folders(config.runs)
        return {"title": "Runs", "runs": [{"name": run, "scores": scores} for run, scores in runs.items()]}
    if not Path(config.spec).is_file():
        raise DataError(f"--spec {config.spec}: no such file")
    return read_json(Path(config.spec), "title", "runs")


def galleries(spec: dict, files: tables.Files) -> list[Gallery]:
    wanted = spec.get("gallery", [])
    if not wanted and "truth" in spec:
        wanted = [{"title": "descriptions", "scores": "greedy", "questions": spec["truth"]}]
    folder = Path(spec.get("image_folder", "."))
    found = (
        gallery(files, part["scores"], part["title"], read_questions(Path(part["questions"])), folder)
        for part in wanted
    )
    return [part for part in found if part]


def there(parts: list[dict]) -> list[dict]:
    """Those whose file is there; a stage that was not run has none."""
    for part in parts:
        if not Path(part["file"]).is_file():
            print(f"warning: {part['file']}: no such file; left out of the page")
    return [part for part in parts if Path(part["file"]).is_file()]


def render(spec: dict, files: tables.Files, sections: list[tables.Section]) -> str:
    return render_page(
        TEMPLATES / "report.html.j2",
        {"number": tables.number, "signed": tables.signed},
        title=spec["title"],
        runs=list(files),
        sections=sections,
        relative=tables.relative,
        figures=spec.get("figures", []),
        logs=[{"title": p["title"], "panels": panels(Path(p["file"]))} for p in there(spec.get("logs", []))],
        pictures=[
            {"title": p["title"], "image": data_uri(Path(p["file"]))} for p in there(spec.get("pictures", []))
        ],
        galleries=galleries(spec, files),
        outcomes=list(OUTCOMES.values()),
        width=WIDTH,
        height=HEIGHT,
    )


def main(config: ReportConfig) -> None:
    spec = read_spec(config)
    files = {run["name"]: run["scores"] for run in spec["runs"]}
    sections = tables.sections(files)
    text = tables.markdown(sections, list(files))
    print(text)
    if config.output:
        output = Path(config.output)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(render(spec, files, sections))
        output.with_suffix(".md").write_text(text + "\n")
        print(f"report: {output}")


if __name__ == "__main__":
    run_command(main, ReportConfig)
