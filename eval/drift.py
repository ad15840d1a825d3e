"""How far a policy is from its reference on answers that it samples, and what rewards give them.

    python -m eval.drift --from_checkpoint models/ppo --reference models/sft --data_path prompts.json \\
        --reward_model_ckpt_path models/reward_model --output_path drift.json

The answers are sampled at temperature 1, so their mean log-ratio is an unbiased estimate of the KL of an answer. They
are written beside the figures, as drift.jsonl, for eval/score.py. What was measured of the same models before is not
measured again.
"""

import json
from contextlib import nullcontext
from pathlib import Path
from statistics import mean, stdev
from zlib import crc32

import torch
from tqdm import tqdm

from eval.predictions import begin
from training.rewards.functions import try_rewards
from training.rewards.kinds import require_reward_models
from training.rewards.weighted import load_rewards
from training.utils.config.sampled_config import DriftConfig
from training.utils.data.loader import Collator, eval_shares
from training.utils.data.records import have_images
from training.utils.files.whole import write_whole
from training.utils.loop.prepare import build_encoder, load_ranked
from training.utils.losses.responses import segment_sum
from training.utils.model.build_model import build_policy
from training.utils.model.tower import share_towers
from training.utils.process import dist
from training.utils.process.cli import run_stage
from training.utils.rollouts.build import build_rollout_engine
from training.utils.rollouts.gap import require_same_prompts
from training.utils.rollouts.sampling import build_sampling
from training.utils.run.identity import identify


@torch.no_grad()
def main(config: DriftConfig) -> None:
    require_reward_models(
        config, config.reward_model_ckpt_path, "--num_return_sequences", config.num_return_sequences
    )
    encoder = build_encoder(config, config.from_checkpoint)
    output = Path(config.output_path)
    records = load_ranked(config, encoder, min_responses=0, needs_answer=config.needs_answers)
    try_rewards(config, records)
    dist.from_main(lambda: begin(output, config, identify(config, encoder, [records])))
    if output.is_file():
        if dist.is_main():
            print(f"{output}: measured before; nothing to do", flush=True)
        return
    has_images = have_images(records)
    policy, reference = (
        build_policy(config, path, encoder.family, trainable=False).to(dist.device())
        for path in (config.from_checkpoint, config.reference)
    )
    rewards = load_rewards(config, encoder, has_images)
    share_towers(policy, reference, *rewards.models)

    figures = {"kl": [], "reward": [], "answers": []}
    longest = config.max_seq_len + config.max_new_tokens
    engine = build_rollout_engine(config, lambda: nullcontext(policy), encoder, config.batch_size, longest)
    sampling = build_sampling(config, encoder, config.max_new_tokens)
    collate = Collator(encoder, has_images)
    shares = eval_shares(records, config.batch_size)
    num_shares = -(-len(records) // (config.batch_size * dist.world_size()))
    with engine.awake():
        for share, counts in tqdm(shares, unit="batch", total=num_shares, disable=not dist.is_main()):
            prompts = encoder.encode_all(share)
            seeds = [crc32(f"{config.seed} {record.id}".encode()) for record in share]
            sampled = engine.respond(prompts, sampling, config.num_return_sequences, seeds)
            require_same_prompts(prompts, sampled)
            pairs = zip(prompts, sampled, strict=True)
            trees = [prompt.with_responses(answers.ids, encoder.stop_ids) for prompt, answers in pairs]
            batch = collate(trees).to(dist.device())
            log_ratios = segment_sum(policy(batch) - reference(batch), batch.response, batch.num_responses)
            if counts:
                figures["kl"] += log_ratios.tolist()
                texts = ([encoder.decode(response.ids) for response in tree.responses] for tree in trees)
                figures["answers"] += zip(batch.ids, texts, strict=True)
            if counts and rewards.weights:
                figures["reward"] += rewards(trees, batch)[0].tolist()
    shares = dist.gather_objects(figures)
    if dist.is_main():
        values = {name: [v for share in shares for v in share[name]] for name in figures}
        answers = [{"id": name, "responses": texts} for name, texts in values.pop("answers")]
        result = {
            name: {"mean": mean(v), "standard_error": stdev(v) / len(v) ** 0.5 if len(v) > 1 else None}
            for name, v in values.items()
            if v
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".jsonl").write_text("".join(json.dumps(line) + "\n" for line in answers))
        # Last: where it is, all is.
        write_whole(output, json.dumps(result | {"n": len(values["kl"])}, indent=1) + "\n")
        units = {"kl": " nats"}
        shown = ", ".join(
            f"{name} {figure['mean']:.3f}{units.get(name, '')}" for name, figure in result.items()
        )
        print(f"{len(values['kl'])} answers: {shown}", flush=True)


if __name__ == "__main__":
    run_stage(main, DriftConfig)
