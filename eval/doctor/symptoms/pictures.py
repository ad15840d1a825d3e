"""Whether the pictures reach the model, and matter to it."""

from itertools import islice
from pathlib import Path

from eval.doctor.change import change
from eval.doctor.finding import Finding
from eval.doctor.limits import LEAST_STEPS, NIL_EFFECT, PICTURES_COUNT
from eval.doctor.run import NotJudged, Run
from training.utils.data.data_paths import folder_of

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
MOST_FILES = 10_000


def blind_data(run: Run) -> Finding | None:
    """Records without pictures, beside pictures."""
    if not run.starts or "records_with_pictures" not in run.starts[0]:
        raise NotJudged("args.json does not say how many records have pictures")
    if run.starts[0]["records_with_pictures"]:
        return None
    path = Path(str(run.arguments.get("data_path", "")).split(" ")[0])
    folder = Path(run.arguments.get("image_folder") or folder_of(path))
    if not folder.is_dir():
        raise NotJudged(
            f"no record has a picture; whether there are any can't be seen: {folder} is not there"
        )
    files = (file for file in islice(folder.rglob("*"), MOST_FILES) if file.suffix.lower() in SUFFIXES)
    found = [str(file) for file in islice(files, 3)]
    if not found:
        return None
    return Finding(
        "blind_data",
        3,
        "No record has a picture, and there are pictures beside them",
        (
            f"0 of {run.settings.get('number of records', '?')} records have one",
            f"not used: {', '.join(found)}",
        ),
        "look at what the records call their pictures (data/README.md; --columns images=NAME), and run "
        f"python -m data.check --data_path {path}",
    )


def blind_model(run: Run) -> Finding | None:
    """Other pictures change nothing."""
    step, effect = run.evaluated("image_effect")
    if effect >= NIL_EFFECT:
        return None
    return Finding(
        "blind_model",
        3,
        "The model does not look at its pictures",
        (f"step {step}: with the pictures of other records its output moves by {effect:.1g}",),
        "look at the pictures (are they all alike?), train the projector (no --only_optimize_lora), and look whether "
        "the checkpoint has the weights of its projector and tower",
    )


def blind_reward_model(run: Run) -> Finding | None:
    """A reward model that decides by words: other pictures move its scores far less than other answers."""
    step, effect = run.evaluated("image_effect")
    margins = run.series("margin", LEAST_STEPS).up_to(step)
    if len(margins) < 3 or margins.values[-3:].mean() < 0.1:
        raise NotJudged(
            f"at step {step}, when image_effect was measured, it did not tell responses apart yet"
        )
    margin = float(margins.values[-3:].mean())
    if effect >= PICTURES_COUNT * margin:
        return None
    whole = run.series("margin")
    evidence = (
        f"step {step}: other pictures move a score by {effect:.2g}, better and worse response are {margin:.2g} apart",
        str(change(whole)),
    )
    cure = "the pairs differ in words that tell them apart without the picture: `score.py --health_path` shows which"
    return Finding(
        "blind_reward_model", 2, "The reward model decides by words, not by pictures", evidence, cure
    )
