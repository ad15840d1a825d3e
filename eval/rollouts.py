"""What a policy sampled while it learned, as one page to look into: pictures, prompts, and the samples of a group
side by side, their tokens coloured by advantage, KL or reward.

    python -m eval.rollouts models/ppo
    python -m eval.rollouts models/ppo --truth models/demo/world/truth_train.json --output rollouts.html

The page is one file that needs nothing else, no network either. It holds only pictures of the image folder.
"""

from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from eval.page import render_page
from eval.rollout_content import Content, as_json, build_content
from eval.rollout_groups import FILE, Group, chosen, read_groups
from eval.rollout_truth import Invented, find_invented
from training.utils.config.flags import flag, require, require_other_file
from training.utils.data.check import require_folder
from training.utils.data.data_paths import picture_folder
from training.utils.process.command import run_command
from training.utils.run.run_record import RECORD_FILE, RunRecord

TEMPLATE = Path(__file__).parent / "templates" / "rollouts.html.j2"


@dataclass(frozen=True)
class RolloutsConfig:
    run: str = flag("", "Output folder of PPO or online DPO, or its rollouts.jsonl.", positional=True)
    output: str = flag("", "HTML file to write; none: rollouts.html beside rollouts.jsonl.", writes="file")
    image_folder: str = flag("", "Folder that names of pictures start from; none: that of the run.")
    truth: str = flag(
        "",
        "What is in the pictures, to mark invented words: truth_*.json of a demo world, or COCO's annotations.",
    )
    synonyms: str = flag("", "CHAIR's file of synonyms, for --truth of COCO.")
    most: int = flag(1000, "Answers in the page; of more, groups from all over the run.")

    def __post_init__(self) -> None:
        require(
            bool(self.run),
            "--run: missing; expected the output folder of run_ppo_training.sh or of online DPO",
        )
        for read in (self.run, str(Path(self.run) / FILE), self.truth, self.synonyms):
            require_other_file("output", self.output, "run, --truth or --synonyms", read)
        require(self.most > 0, f"--most {self.most}: expected 1 or more")


def folder_of_pictures(config: RolloutsConfig, run: Path) -> Path | None:
    """The folder that was given, else that of the run; none where the run does not tell."""
    require_folder(config.image_folder)
    if config.image_folder:
        return Path(config.image_folder)
    record = RunRecord.read((run if run.is_dir() else run.parent) / RECORD_FILE)
    if record is None:
        return None
    return picture_folder(record.arguments.get("image_folder"), record.arguments.get("data_path", ""))


def render(title: str, content: Content, total: int) -> str:
    """
    Args:
        total: answers of the run, shown or not.
    """
    steps = [group["step"] for group in content.groups]
    data = {
        "groups": content.groups,
        "pictures": content.pictures,
        "scales": content.scales,
    }
    return render_page(
        TEMPLATE,
        title=title,
        num_shown=sum(len(group["answers"]) for group in content.groups),
        num_groups=len(content.groups),
        total=total,
        first_step=min(steps),
        last_step=max(steps),
        measures=[*content.scales],
        has_truth=content.has_truth,
        notes=content.notes,
        data=Markup(as_json(data)),
    )


def known_share(groups: list[Group], invented: Invented) -> str | None:
    """What of the groups has no truth, for people."""
    num = sum((group.id, group.answers[0].response) not in invented for group in groups)
    return f"{num:,} of {len(groups):,} groups have no truth in --truth" if num else None


def main(config: RolloutsConfig) -> None:
    run = Path(config.run)
    groups = read_groups(run)
    total = sum(len(group.answers) for group in groups)
    groups = chosen(groups, config.most)
    invented = find_invented(groups, Path(config.truth), config.synonyms) if config.truth else None
    content = build_content(groups, folder_of_pictures(config, run), invented)
    if invented is not None and (note := known_share(groups, invented)):
        content.notes.append(note)
    if not content.scales:
        content.notes.append("the file holds no tokens, so there are no colours: it is of an older version")
    output = Path(config.output) if config.output else (run if run.is_dir() else run.parent) / "rollouts.html"
    page = render(run.name if run.is_dir() else run.resolve().parent.name, content, total)
    output.write_text(page, encoding="utf-8")
    for note in content.notes:
        print(f"note: {note}")
    shown = sum(len(group.answers) for group in groups)
    print(
        f"{output}: {shown:,} of {total:,} answers in {len(groups):,} groups, {output.stat().st_size / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    run_command(main, RolloutsConfig)
