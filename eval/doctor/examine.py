"""Looks at a run for everything in the table of symptoms."""

from dataclasses import dataclass, field

from eval.doctor.finding import Finding
from eval.doctor.run import NotJudged, Run
from eval.doctor.symptoms import SYMPTOMS


@dataclass
class Diagnosis:
    findings: list[Finding] = field(default_factory=list)  # the worst first
    looked_for: list[str] = field(default_factory=list)
    not_judged: dict[str, str] = field(default_factory=dict)  # name -> what is missing


def examine(run: Run) -> Diagnosis:
    diagnosis = Diagnosis()
    for symptom in SYMPTOMS:
        if run.stage not in symptom.stages:
            continue
        try:
            found = symptom.look(run)
        except NotJudged as missing:
            diagnosis.not_judged[symptom.name] = str(missing)
            continue
        diagnosis.looked_for.append(symptom.name)
        if found:
            diagnosis.findings.append(found)
    diagnosis.findings.sort(key=lambda finding: -finding.severity)
    return diagnosis
