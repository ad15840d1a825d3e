"""Scores of a reward model for the answers of a file, and how often it orders ranked answers rightly.

    deepspeed --module training.reward_model.score --from_checkpoint models/reward_model \\
        --data_path data/samples/reward.json --output_path models/reward_model/scores.jsonl

With `--reward_ensemble min --ensemble_with models/another` several score as one; `parts` are the scores of each.
With `--health_path FOLDER` it scores them with others' pictures and with blank ones too, and writes what the accuracy
is made of: report.md, report.json, calibration.png.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from tqdm import tqdm

from training.reward_model.health import Pair, accuracy, compared, health_report, in_both_orders, pairs_of
from training.reward_model.health_page import as_text, draw_calibration
from training.rewards.ensemble import Scale
from training.rewards.kinds import kind_of, name_of, require_reward_models
from training.rewards.models import captions_for, load_reward_models, together
from training.rewards.reward import WeightedRewards
from training.rewards.verdict_reward import VerdictReward
from training.utils.config.ensemble_config import ENSEMBLE
from training.utils.config.reward_score_config import RewardScoreConfig
from training.utils.data.encode import Encoder
from training.utils.data.images import open_image
from training.utils.data.legacy_lines import json_file, legacy_file, named_within, write_lines
from training.utils.data.loader import Collator, eval_shares
from training.utils.data.record import DataError, Record
from training.utils.data.records import Records, have_images
from training.utils.files.model_folder import read_aspects, resolve_checkpoint
from training.utils.loop.image_effect import with_others_images
from training.utils.loop.prepare import build_encoder, load_ranked
from training.utils.model.tower import share_towers
from training.utils.process import dist
from training.utils.process.cli import run_stage


def main(config: RewardScoreConfig) -> None:
    require_reward_models(config, config.members)
    encoder = build_encoder(config, config.from_checkpoint)
    aspects = read_aspects(resolve_checkpoint(config.from_checkpoint))
    records = load_ranked(
        config, encoder, min_responses=1, captions=captions_of_all(config), aspects=aspects or None
    )
    rewards = load(config, encoder, have_images(records))
    views = {"true": records}
    if config.health_path and have_images(records):
        views |= {"shuffled": with_others_images(records), "blank": with_blank_images(records)}
    scored = {
        name: score(rewards, encoder, view, config.batch_size, desc=f"{name} pictures")
        for name, view in views.items()
    }
    if not dist.is_main():
        return
    scores = {name: [each["scores"] for each in of_view] for name, of_view in scored.items()}
    output = json_file(config.output_path, config.legacy_output)
    output.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"id": record.id} | each for record, each in zip(records, scored["true"], strict=True)]
    output.write_text("".join(json.dumps(line) + "\n" for line in lines))
    if config.legacy_output:
        write_lines(file := legacy_file(output), legacy_rows(encoder, records, scores["true"]))
        print(f"wrote {file}", flush=True)
    if config.keep_scale:
        scale = Scale.of([value for given in scores["true"] for value in given], config.aspect_weights)
        print(f"wrote {scale.keep(config.from_checkpoint)}: {scale}", flush=True)
    if aspects and not config.reward_ensemble:  # a ranking by an aspect says something of its scores alone
        judged = {name: of_aspects(config, aspects, records, of_view) for name, of_view in scored.items()}
    else:
        judged = scores
    pairs = {
        name: pairs_of(records, given, aspects, log_odds_of(scored[name])) for name, given in judged.items()
    }
    if pairs["true"]:
        print(described(pairs["true"]), flush=True)
    if config.health_path:
        about = {path: kind_of(path).about(resolve_checkpoint(path)) for path in config.members}
        alone = {
            path: {
                name: pairs_of(records, [each["parts"][path] for each in of_view])
                for name, of_view in scored.items()
            }
            for path in config.members
            if config.reward_ensemble
        }
        folder, report = Path(config.health_path), health_report(pairs, about, alone)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
        (folder / "report.md").write_text(as_text(report))
        draw_calibration(report, folder / "calibration.png")
        print(as_text(report), flush=True)


def log_odds_of(scored: Sequence[dict[str, Any]]) -> list[list[list[float]]] | None:
    """Of each record how verdicts on its answers side by side went; nothing where they were scored by themselves."""
    return [each["log_odds"] for each in scored] if all("log_odds" in each for each in scored) else None


def described(pairs: Sequence[Pair]) -> str:
    """How right the scores are, in a line."""
    line = f"pair accuracy {accuracy(pairs):.1f} % of {len(pairs)} pairs"
    if not compared(pairs):
        return line
    orders = in_both_orders(pairs)
    return (
        f"{line}, {orders['right']:.1f} % right in both orders; the orders agree in {orders['agree']:.1f} %, and "
        f"{orders['for_first']:.1f} % of the verdicts are for the answer that is shown first"
    )


def load(config: RewardScoreConfig, encoder: Encoder, has_images: bool) -> WeightedRewards:
    """What scores, on this process's device. Captions stand in the records already."""
    encoders = {
        path: encoder if path == config.from_checkpoint else build_encoder(config.for_another_model, path)
        for path in config.members
    }
    rewards, models = load_reward_models(config, encoders, dict.fromkeys(encoders, ""), encoder, has_images)
    share_towers(*models)
    counts = ENSEMBLE if config.reward_ensemble else config.from_checkpoint
    return WeightedRewards(together(config, rewards), {counts: 1.0}, models)


def of_aspects(
    config: RewardScoreConfig,
    aspects: Sequence[str],
    records: Sequence[Record],
    scored: Sequence[dict[str, Any]],
) -> list[list[float]]:
    """Of each record the scores that its ranking is about: of its aspect, or all in all."""
    return [
        each["parts"][name_of(config.from_checkpoint, aspects[record.aspect])]
        if record.aspect >= 0
        else each["scores"]
        for record, each in zip(records, scored, strict=True)
    ]


def captions_of_all(config: RewardScoreConfig) -> str:
    """The files of captions that go into the records.

    Raises:
        DataError: of several reward models some read captions.
    """
    found = {captions_for(path, config.captions) for path in config.members}
    if len(found) > 1:
        raise DataError(
            "--ensemble_with: some of these reward models read captions and some do not; expected all alike"
        )
    return found.pop()


@torch.no_grad()
def score(
    rewards: WeightedRewards, encoder: Encoder, records: Sequence[Record], batch_size: int, desc: str
) -> list[dict[str, Any]]:
    """`scores` of the responses of each record, and where several things score, `parts`, the scores of each by name;
    where a model says why, `said`, and where it compares two side by side, `log_odds`. In the order of the records,
    on the main process those of all."""
    mine = []
    collate = Collator(encoder, have_images(records))
    batches = eval_shares(records, batch_size)
    for share, counts in tqdm(batches, unit="batch", desc=desc, disable=not dist.is_main()):
        trees = encoder.encode_all(share)
        given = rewards(trees, collate(trees).to(dist.device()))
        by_prompt = given.by_prompt([len(tree.responses) for tree in trees])
        beside = said_beside(rewards) or [{}] * len(trees)
        for of_prompt, more in zip(by_prompt, beside, strict=True) if counts else ():
            if len(of_prompt["parts"]) == 1:  # it is the score
                del of_prompt["parts"]
            mine.append(of_prompt | more)
    shares = dist.gather_objects(mine)
    return [shares[number % len(shares)][number // len(shares)] for number in range(len(records))]


def said_beside(rewards: WeightedRewards) -> list[dict[str, Any]]:
    """How the verdicts went that a reward model made its latest scores of, for each prompt; nothing if it gives
    none."""
    (reward,) = rewards.rewards
    return [verdict.line() for verdict in reward.latest] if isinstance(reward, VerdictReward) else []


def legacy_rows(
    encoder: Encoder, records: Records, scores: Sequence[Sequence[float]]
) -> Iterator[tuple[object, ...]]:
    """A line for each answer, as rm_eval.py of Vision-LLM-Alignment wrote it: id, image, prompt and answer, score."""
    folders = records.folders
    for record, given in zip(records, scores, strict=True):
        image = ",".join(named_within(image, folders) for image in record.images if isinstance(image, Path))
        for text, score in zip(record.responses, given, strict=True):
            yield record.id, image or None, encoder.written(record, text), score


def with_blank_images(records: Sequence[Record]) -> list[Record]:
    """The records with a grey picture of the same size in place of each."""

    def blank(image: Path | Image.Image) -> Image.Image:
        return Image.new("RGB", open_image(image).size, (128, 128, 128))

    return [replace(record, images=tuple(map(blank, record.images))) for record in records]


if __name__ == "__main__":
    run_stage(main, RewardScoreConfig)
