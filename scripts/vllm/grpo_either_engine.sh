#!/usr/bin/env bash
# GRPO with either engine from one SFT model, some seeds of each, on a tiny world whose objects are known: the reward on
# held-out pictures at the end. docs/vllm.md has the figures.
#
#   bash scripts/vllm/grpo_either_engine.sh      some minutes on two cores; a second run goes on from what is there
#
# Environment: VLLM_ENV (scripts/setup_vllm.sh), OUTPUT, SEEDS, STEPS.
set -euo pipefail
cd "$(dirname "$0")/../.."
source scripts/setup_vllm.sh

OUTPUT=${OUTPUT:-models/either_engine}
SEEDS=${SEEDS:-0 1 2}
STEPS=${STEPS:-25}
WORLD=$OUTPUT/world
COMMON=(--max_seq_len 256 --precision fp32 --gradient_checkpointing false)
export ACCUMULATION=1 ZERO_STAGE=0 ACTOR_ZERO_STAGE=0

[[ -f $WORLD/prompts.json ]] || python -m data.tiny_world --output "$WORLD" --num_pictures 400
[[ -f $OUTPUT/tiny/config.json ]] || python -m demo.model --output "$OUTPUT/tiny" --texts "$WORLD" --hidden_size 128 \
  --num_layers 3
[[ -e $OUTPUT/sft/finished ]] || MODEL=$OUTPUT/tiny DATA=$WORLD/sft.json OUTPUT=$OUTPUT/sft \
  BATCH=32 LR=1e-3 EPOCHS=4 bash run_sft.sh "${COMMON[@]}"
for seed in $SEEDS; do
  for engine in own vllm; do
    MODEL=$OUTPUT/sft DATA=$WORLD/prompts.json OUTPUT=$OUTPUT/$engine-$seed ENGINE=$engine ALGORITHM=grpo SAMPLES=8 \
      BATCH=8 MAX_RESPONSE_LEN=40 REWARDS=amber ACTOR_LR=2e-4 KL_COEF=0.005 MAX_STEPS=$STEPS \
      bash run_ppo_training.sh --truth "$WORLD/instances_val2014.json" --synonyms "$WORLD/synonyms.txt" \
      --data_train_split_ratio 0.5 --eval_step "$STEPS" --per_device_eval_batch_size 32 --seed "$seed" "${COMMON[@]}"
  done
done
python - "$OUTPUT" $SEEDS <<'TABLE'
import json, statistics, sys
from pathlib import Path

output, seeds = Path(sys.argv[1]), sys.argv[2:]
for engine in ("own", "vllm"):
    logs = [[json.loads(line) for line in (output / f"{engine}-{seed}/log.jsonl").open()] for seed in seeds]
    ends = [[line["eval_reward"] for line in log if "eval_reward" in line][-1] for log in logs]
    first = statistics.mean(next(line["reward"] for line in log if "reward" in line) for log in logs)
    seconds = statistics.mean(line["sampling_s"] for log in logs for line in log if "sampling_s" in line)
    each = " ".join(f"{end:.3f}" for end in ends)
    spread = statistics.stdev(ends) if len(ends) > 1 else 0.0
    print(f"{engine:>4}: reward {first:.3f} in the first step, held out at the end {each}: "
          f"{statistics.mean(ends):.3f} +- {spread:.3f}; sampling {seconds:.1f} s a step")
TABLE
