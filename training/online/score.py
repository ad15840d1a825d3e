"""Scores of sampled answers, by the rewards of policy optimisation: models, functions, endpoints, and their sum.

    deepspeed --module training.online.score --from_checkpoint models/sft --data_path samples.jsonl \\
        --reward_model_ckpt_path models/reward_model --output_path scores.jsonl

A line for each record: `id`, `scores` of its answers in their order, and `parts`, the scores of each reward. A run
that was stopped goes on where it was; scores of answers or reward models that have changed since are made anew.
"""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import torch
from tqdm import tqdm

from eval.predictions import Lines, begin, prompt_digest, with_content
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.rewards.weighted import load_rewards
from training.utils.config.sampled_config import SampleScoreConfig
from training.utils.data.encode import Encoder
from training.utils.data.loader import Collator
from training.utils.data.record import DataError, Record
from training.utils.data.records import Records
from training.utils.loop.prepare import build_encoder, load_ranked
from training.utils.model.tower import share_towers
from training.utils.process import dist
from training.utils.process.cli import run_stage
from training.utils.process.stop import until_stopped
from training.utils.run.identity import identify


def main(config: SampleScoreConfig) -> None:
    require_reward_models(config, config.reward_model_ckpt_path)
    encoder = build_encoder(config, config.from_checkpoint)  # its pictures are those of --max_seq_len
    encoder.max_seq_len += config.answer_room
    records = load_ranked(config, encoder, min_responses=1, needs_answer=config.needs_answers)
    require_whole(config, records)
    try_rewards(config, records)
    output = Path(config.output_path)
    dist.from_main(lambda: begin(output, config, with_content(identify(config, encoder), config.data_path)))
    lines = Lines(output, records, digest)
    if dist.is_main():
        print(f"answers to {len(records)} prompts, of {len(lines.done)} scored before", flush=True)
    if lines.todo:
        score_all(config, encoder, records, lines)
    if dist.is_main():
        lines.merge()
        print(f"wrote {output}", flush=True)


def require_whole(config: SampleScoreConfig, records: Records) -> None:
    """
    Raises:
        DataError: answers would be scored without their ends, in which some rewards look for what they came to.
    """
    if cut := int(records.of("responses_cut").sum()):
        raise DataError(
            f"{config.data_path}: {cut:,} answers would lose their ends at --max_seq_len {config.max_seq_len} with "
            f"--answer_room {config.answer_room}, and be scored without them; raise --answer_room"
        )


@torch.no_grad()
def score_all(config: SampleScoreConfig, encoder: Encoder, records: Records, lines: Lines) -> None:
    """Scores of the answers that have none yet, written as they come."""
    roomy = replace(config, max_seq_len=encoder.max_seq_len)
    rewards = load_rewards(roomy, encoder, records.has_images)
    share_towers(*rewards.models)
    collate = Collator(encoder, records.has_images)
    batches = tqdm(lines.batches(config.batch_size), unit="batch", disable=not dist.is_main())
    for numbers in until_stopped(batches):
        answered = [records[number] for number in numbers]
        trees = encoder.encode_all(answered)
        given = rewards(trees, collate(trees).to(dist.device()))
        by_prompt = given.by_prompt([len(tree.responses) for tree in trees])
        for record, of_prompt in zip(answered, by_prompt, strict=True):
            lines.write({"id": record.id, "prompt_digest": digest(record)} | of_prompt)
    dist.barrier()  # every process has written its lines


def digest(record: Record) -> str:
    """Of the prompt and its answers."""
    read = json.dumps([prompt_digest(record), record.responses])
    return hashlib.sha256(read.encode()).hexdigest()[:16]


if __name__ == "__main__":
    run_stage(main, SampleScoreConfig)
