"""The page of what was measured on a GPU, also of a part of it."""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scripts.gpu.sections import AIMS, SECTIONS, STAGES

PACKAGES = ("torch", "transformers", "peft", "liger-kernel")
COLUMNS = (
    "model",
    "work",
    "way",
    "s a step",
    "tokens/s",
    "MFU %",
    "peak GiB",
    "times as fast as rows",
    "aim",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"
BEFORE = """# On a GPU

`bash scripts/gpu_check.sh` measures in twelve minutes what this table asks, on one GPU of 80 GB, and writes this page
after each row; `SIZE=tiny bash scripts/gpu_check.sh` rehearses it on a CPU, and writes into models/gpu_check.

- Models have their published shapes and random weights, in bf16, with gradient checkpointing. Adapters of rank 64 on
  the attention of the language model are trained, so the state of the optimizer is small: torch's AdamW, on one
  process, without DeepSpeed.
- A step is one micro-batch: the stage's own forward passes, loss, backward pass and update; GRPO's without the
  sampling, which has rows of its own. Pictures are of 640 x 480. The median of four, after one to warm up.
- *rows*: each response in a row of its own, its picture and prompt computed again.
- *tokens/s*: what the language model read, pictures included, or wrote in generation. Rows read more for the same
  step.
- *MFU*: operations that the layers' weights need for these tokens (forward 2 a weight and token, gradients of
  activations 2; DPO's reference 2, GRPO's two looks before the update 4) over the time, as a share of what a product
  of two square matrices reached in the same run. Recomputation, attention, the head and the tower are left out. Aim:
  45 %.
"""


def page(found: Sequence[dict[str, Any]], notes: Sequence[str] = ()) -> str:
    """
    Args:
        found: what was measured, in any order; what is missing is not measured.
        notes: lines below the table.
    """
    device = next((each for each in found if "tflops" in each), None)
    rows = {(each["section"], each["way"]): each for each in found if "section" in each}
    if device:
        head = f"Measured on {device['device']}; a matrix product reaches {device['tflops']:,.1f} TFLOP/s. "
        head += f"{versions()}."
    else:
        head = "Nothing has been measured on a GPU yet."
    lines = [BEFORE, head, "", HEAD]
    for name, section in SECTIONS.items():
        base = rows.get((name, "rows"), {}).get("seconds")
        for way in section.ways:
            cells = figures(rows.get((name, way.name), {}), device, base)
            aim = str(AIMS.get(section.stage, "")) if way.name == "trees" else ""
            lines.append(
                f"| {section.family} | {STAGES[section.stage]} | {way.name} | {' | '.join(cells)} | {aim} |"
            )
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def figures(row: dict[str, Any], device: dict[str, Any] | None, base_s: float | None) -> list[str]:
    """The cells of a row between its name and its aim."""
    if "seconds" not in row:
        return [row.get("failed", "not measured"), "", "", "", ""]
    seconds = row["seconds"]
    used = f"{100 * row['operations'] / seconds / 1e12 / device['tflops']:#.3g}" if device else ""
    return [
        f"{seconds:.3f}",
        f"{row['tokens'] / seconds:,.0f}",
        used,
        f"{row['peak_gib']:.1f}" if row["peak_gib"] else "",
        f"{base_s / seconds:.2f}" if base_s else "",
    ]


def versions() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
