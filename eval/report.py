"""One self-contained page of a comparison: table, curves, and pictures with the answers of each run.

    python -m eval.report --spec report.json --output report.html

The spec names what to show:

    {"title": ..., "runs": [{"name", "scores": {"greedy": FILE, "sampled": FILE}, "predictions": FILE}],
     "pictures": [{"title", "file"}], "figures": [{"name", "value"}], "image_folder": FOLDER}
"""

import base64
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from transformers import HfArgumentParser

SHOWN = ("Hal", "CHAIR_i", "Cover", "words")
GALLERY = 24


@dataclass(frozen=True)
class ReportConfig:
    spec: str = field(metadata={"help": "JSON file that names runs, scores and pictures."})
    output: str = field(metadata={"help": "HTML file to write; a .md of the table lies beside it."})


def read(path: str) -> dict:
    return json.loads(Path(path).read_text())


def data_uri(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def table(runs: list[dict]) -> list[dict]:
    """A row for each run: figures by decoding, and the relative change of the rate against the first run."""
    rows = []
    for run in runs:
        row = {"name": run["name"], "cells": {}}
        for decoding, file in run["scores"].items():
            metrics = read(file)["metrics"]
            row["cells"][decoding] = {name: metrics[name] for name in SHOWN}
        rows.append(row)
    for row in rows:
        for decoding, cell in row["cells"].items():
            base = rows[0]["cells"].get(decoding, {}).get("Hal")
            cell["cut"] = 100 * (1 - cell["Hal"] / base) if base and row is not rows[0] else None
    return rows


def marked(text: str, invented: list[str]) -> list[tuple[str, bool]]:
    """The text in stretches, and which of them are invented objects."""
    if not invented:
        return [(text, False)]
    names = "|".join(map(re.escape, set(invented)))
    parts = re.split(rf"\b((?:{names})(?:e?s)?)\b", text, flags=re.IGNORECASE)
    return [(part, place % 2 == 1) for place, part in enumerate(parts) if part]


def gallery(runs: list[dict], image_folder: Path, images: dict[str, str]) -> list[dict]:
    """Pictures with the answer of each run; those first in which the runs differ."""
    by_run = {}
    for run in runs:
        items = read(run["scores"]["greedy"])["per_item"] if "greedy" in run["scores"] else []
        if items:
            by_run[run["name"]] = {item["id"]: item for item in items}
    first = next(iter(by_run.values()), {})
    entries = []
    for name, before in first.items():
        answers = [
            {"run": run, "parts": marked(items[name]["response"], items[name]["invented"])}
            | {"invented": bool(items[name]["invented"]), "missed": missed(items[name])}
            for run, items in by_run.items()
            if name in items
        ]
        mended = before["invented"] and not answers[-1]["invented"]
        broken = not before["invented"] and answers[-1]["invented"]
        outcome = "mended" if mended else "broken" if broken else "wrong" if before["invented"] else "right"
        entries.append(
            {"id": name, "answers": answers, "outcome": outcome, "file": image_folder / images[name]}
        )
    chosen = []
    for outcome, share in (("mended", 0.5), ("broken", 0.15), ("wrong", 0.15), ("right", 0.2)):
        chosen += [entry for entry in entries if entry["outcome"] == outcome][: int(share * GALLERY)]
    return [entry | {"image": data_uri(entry["file"])} for entry in chosen]


def missed(item: dict) -> bool:
    return len(item["covered"]) < item["num_objects"]


def markdown(rows: list[dict]) -> str:
    lines = [
        "| run | decoding | Hal % | cut % | CHAIR_i % | Cover % | words |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for decoding, cell in row["cells"].items():
            cut = "" if cell["cut"] is None else f"{cell['cut']:.0f}"
            figures = f"{cell['Hal']:.1f} | {cut} | {cell['CHAIR_i']:.1f} | {cell['Cover']:.1f} | {cell['words']:.1f}"
            lines.append(f"| {row['name']} | {decoding} | {figures} |")
    return "\n".join(lines)


def main(config: ReportConfig) -> None:
    spec = read(config.spec)
    rows = table(spec["runs"])
    truth = read(spec["truth"])
    images = {scene["id"]: scene["image"] for scene in truth["scenes"]}
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
    page = environment.get_template("report.html.j2").render(
        title=spec["title"],
        rows=rows,
        figures=spec.get("figures", []),
        pictures=[
            {"title": picture["title"], "image": data_uri(Path(picture["file"]))}
            for picture in spec.get("pictures", [])
            if Path(picture["file"]).is_file()
        ],
        gallery=gallery(spec["runs"], Path(spec["image_folder"]), images),
    )
    output = Path(config.output)
    output.write_text(page)
    text = markdown(rows)
    output.with_suffix(".md").write_text(text + "\n")
    print(text)
    print(f"report: {output}")


if __name__ == "__main__":
    main(HfArgumentParser(ReportConfig).parse_args_into_dataclasses()[0])
