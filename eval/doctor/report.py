"""A diagnosis as text."""

from eval.doctor.examine import Diagnosis
from eval.doctor.run import Run

SEVERITY = {3: "FAULT", 2: "WRONG", 1: "LOOK"}


def as_text(run: Run, diagnosis: Diagnosis) -> str:
    lines = []
    for finding in diagnosis.findings:
        lines.append(f"{SEVERITY[finding.severity]} {finding.name}: {finding.says}")
        lines += [f"    {line}" for line in finding.evidence]
        lines.append(f"    cure: {finding.cure}")
    if not diagnosis.findings:
        lines.append("Nothing was found.")
    lines.append(
        f"{run.folder}: {run.stage}, {len(run.steps)} steps, {len(run.evaluations)} evaluations, "
        f"{len(run.rollouts)} sampled prompts; looked for {', '.join(diagnosis.looked_for) or 'nothing'}"
    )
    if diagnosis.not_judged:
        lines.append("Not judged:")
        lines += [f"    {name}: {missing}" for name, missing in diagnosis.not_judged.items()]
    return "\n".join(lines)
