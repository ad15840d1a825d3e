"""The health report of a reward model as a page for people, and its picture."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from training.utils.picture import drawn

# Of a reward model that compares two side by side: what its verdicts in both orders say.
ORDERS = {
    "right": "right in both orders, %",
    "agree": "orders agree, %",
    "for_first": "for the one shown first, %",
}


def as_text(report: dict) -> str:
    """The report as Markdown."""

    def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
        return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)] + [""]

    lines = ["# Health of a reward model", ""]
    lines += [f"- `{name}` gives {about}" for name, about in report["models"].items()]
    lines += [""] * bool(report["models"])
    if "looks_at_pictures" in report:
        lines += [looks(report), ""]
    shown = report.get("in_both_orders", {})
    head = ["pictures", "pair accuracy, %", *ORDERS.values()] if shown else ["pictures", "pair accuracy, %"]
    lines += table(
        head,
        [
            [name, f"{value:.1f}", *(f"{shown[name][figure]:.1f}" for figure in ORDERS if shown)]
            for name, value in report["accuracy"].items()
        ],
    )
    if members := report.get("members"):
        lines += [
            f"- `{name}`: {looks(found)}" for name, found in members.items() if "looks_at_pictures" in found
        ]
        names = [*report["accuracy"]]
        rows = [
            [name, *(f"{found['accuracy'][view]:.1f}" for view in names)] for name, found in members.items()
        ]
        lines += ["", *table(["alone, pair accuracy, %", *names], rows)]
    lines.append(
        f"{report['pairs']} pairs; choosing the longer response is right in "
        f"{report['accuracy_of_choosing_the_longer']:.1f} %; {report['ties']:.1f} % ties; calibration error "
        f"{report['calibration_error']:.1f} %."
    )
    lines.append("")
    for title, groups in (
        *([("aspect, by its own scores", report["by_aspect"])] if "by_aspect" in report else []),
        ("source", report["by_source"]),
        ("better response", {name[2:]: group for name, group in report["by_length_difference"].items()}),
    ):
        rows = [[name, f"{group['accuracy']:.1f}", str(group["pairs"])] for name, group in groups.items()]
        lines += table([title, "pair accuracy, %", "pairs"], rows)
    rows = [
        [f"{r['confidence']:.1f}", f"{r['accuracy']:.1f}", str(r["pairs"])] for r in report["calibration"]
    ]
    lines += table(["confidence, %", "pair accuracy, %", "pairs"], rows)
    return "\n".join(lines)


def looks(found: dict) -> str:
    """Whether a reward model looks at the pictures, in a sentence."""
    loss = found["accuracy"]["true"] - found["accuracy"]["shuffled"]
    if found["looks_at_pictures"]:
        return f"It looks at the pictures: with others' pictures it loses {loss:.1f} points of accuracy."
    return f"**It does not look at the pictures**: with others' pictures it is as right ({loss:+.1f} points)."


def draw_calibration(report: dict, picture: Path) -> None:
    """Accuracy against confidence; on the diagonal a reward model means what it says."""
    rows = report["calibration"]
    with drawn(picture, figsize=(4, 3.4)) as axis:
        axis.plot([50, 100], [50, 100], "--", color="grey", linewidth=0.8)
        axis.plot([row["confidence"] for row in rows], [row["accuracy"] for row in rows], "o-")
        axis.set_xlabel("confidence, %")
        axis.set_ylabel("pair accuracy, %")
        axis.grid(alpha=0.3)
