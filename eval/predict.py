"""Answers of a model to the prompts of a file, as JSON Lines.

Each line holds id, image, prompt, response, responses (all samples), label, and with rewards the scores
of the samples; then `response` is the best of them (best-of-n). A run that was stopped goes on where it was.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from tqdm import tqdm

from eval.best_of_n import describe, write_curve
from eval.legacy import write_legacy
from eval.predictions import Lines, begin, label_of, prediction
from eval.prompts import load_prompts
from eval.sampled_data import write_data
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.rewards.reward import WeightedRewards
from training.rewards.weighted import load_rewards
from training.utils.config.stage_config import PredictConfig
from training.utils.data.encode import Encoder
from training.utils.data.legacy_lines import json_file
from training.utils.data.loader import Collator
from training.utils.data.record import Record
from training.utils.data.records import have_images
from training.utils.data.tree import Tree
from training.utils.files import jsonl
from training.utils.loop.prepare import build_encoder
from training.utils.model.beam_search import beam_search
from training.utils.model.build_model import build_policy
from training.utils.model.policy import Policy
from training.utils.model.tower import share_towers
from training.utils.process import dist
from training.utils.process.cli import run_stage
from training.utils.process.stop import until_stopped
from training.utils.rollouts.build import build_rollout_engine
from training.utils.rollouts.gap import require_same_prompts
from training.utils.rollouts.rollout_engine import RolloutEngine
from training.utils.rollouts.sampling import build_sampling
from training.utils.run.identity import identify

logger = logging.getLogger(__name__)


def main(config: PredictConfig) -> None:
    require_reward_models(
        config, config.reward_model_ckpt_path, "--num_return_sequences", config.num_return_sequences
    )
    encoder = build_encoder(config, config.from_checkpoint)
    output = json_file(config.output_path, config.legacy_output)
    records = load_prompts(config, encoder, failed=output.with_name(f"{output.stem}.failed.jsonl"))
    try_rewards(config, records)
    dist.from_main(lambda: begin(output, config, identify(config, encoder)))
    lines = Lines(output, records, label=label_of, reads_label=config.may_read_labels)
    if dist.is_main():
        print(f"{len(records)} prompts, {len(lines.done)} answered before", flush=True)

    if lines.todo:
        answer_all(config, encoder, records, lines)
    if dist.is_main():
        lines.merge()
        if config.rewards and config.num_return_sequences > 1:
            for point in write_curve(output, output.with_name(f"{output.stem}.best_of_n.json")):
                print(describe(point), flush=True)
        print(f"wrote {output}", flush=True)
        if config.data_output:
            answered = jsonl.read(output)
            texts, ended = ([line.get(key) for line in answered] for key in ("responses", "ended"))
            write_data(records, texts, ended, Path(config.data_output), config.keep_cut)
        if config.legacy_output:
            print(f"wrote {write_legacy(output, records.folders)}", flush=True)


def answer_all(config: PredictConfig, encoder: Encoder, records: Sequence[Record], lines: Lines) -> None:
    """Answers that are not there yet, written as they come, with the scores of the rewards if any."""
    policy = build_policy(config, config.from_checkpoint, encoder.family, trainable=False)
    if config.rollout_engine == "own":  # another takes the weights over
        policy = policy.to(dist.device())
    has_images = have_images(records)
    rewards = load_rewards(config, encoder, has_images)
    share_towers(policy, *rewards.models)

    longest = config.max_seq_len + config.max_new_tokens
    engine = build_rollout_engine(config, lambda: nullcontext(policy), encoder, config.batch_size, longest)
    started, num_tokens = time.monotonic(), 0
    collate = Collator(encoder, has_images=False)
    batches = tqdm(lines.batches(config.batch_size), unit="batch", disable=not dist.is_main())
    with engine.awake():
        for numbers in until_stopped(batches):
            prompts = [encoder.encode(records[number]) for number in numbers]
            seeds = [hash((config.seed, number)) for number in numbers]
            responses = answer(engine, policy, encoder, prompts, config, seeds)
            scores = [None] * len(prompts)
            if config.rewards:
                scores = score(rewards, collate, prompts, responses, encoder)
            num_tokens += sum(len(ids) for texts in responses for ids in texts)
            for number, texts, values in zip(numbers, responses, scores, strict=True):
                ended = [ids[-1] in encoder.stop_ids for ids in texts]
                lines.write(
                    prediction(records[number], [encoder.decode(ids) for ids in texts], values, ended)
                )
    num_tokens = int(dist.sum_over_ranks(num_tokens))  # every process has written its lines by now
    seconds = time.monotonic() - started
    if dist.is_main():
        print(f"{num_tokens:,} tokens in {seconds:.1f} s, {num_tokens / seconds:,.0f} tokens/s", flush=True)


def answer(
    engine: RolloutEngine,
    policy: Policy,
    encoder: Encoder,
    prompts: Sequence[Tree],
    config: PredictConfig,
    seeds: Sequence[int],
) -> list[list[list[int]]]:
    """Token ids of `num_return_sequences` responses for each prompt."""
    sampling = build_sampling(config, encoder, config.max_new_tokens)
    if config.num_beams > 1:
        return beam_search(policy, prompts, sampling, config.num_beams, encoder.tokenizer.pad_token_id)
    answered = engine.respond(prompts, sampling, config.num_return_sequences, seeds)
    require_same_prompts(prompts, answered)
    return [answers.ids for answers in answered]


@torch.no_grad()
def score(
    rewards: WeightedRewards,
    collate: Collator,
    prompts: Sequence[Tree],
    responses: Sequence[Sequence[list[int]]],
    encoder: Encoder,
) -> list[list[float]]:
    """The score of each response."""
    trees = [
        prompt.with_responses(ids, encoder.stop_ids) for prompt, ids in zip(prompts, responses, strict=True)
    ]
    batch = collate(trees).to(dist.device())
    scores = iter(rewards(trees, batch)[0].tolist())
    return [[next(scores) for _ in tree.responses] for tree in trees]


if __name__ == "__main__":
    run_stage(main, PredictConfig)
