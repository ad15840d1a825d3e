#!/usr/bin/env bash
# Reward model from ranked answers. Settings can be given from outside: MODEL=... bash run_rm_training.sh
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # model folder, or the output folder of SFT
DATA=${DATA:-data/samples/reward.json}       # ranked answers: files or folders with spaces between, see data/README.md
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/reward_model}        # output folder
TEMPLATE=${TEMPLATE:-auto}                   # prompt template, see training/utils/data/DST.py
CANDIDATE_NUM=${CANDIDATE_NUM:-0}            # answers of a prompt to use, the best first; 0: all
EPOCHS=${EPOCHS:-1}                          # passes over the records
BATCH=${BATCH:-4}                            # prompts of a micro-batch on each device
ACCUMULATION=${ACCUMULATION:-2}              # micro-batches of an optimizer step
LR=${LR:-1e-6}                               # peak learning rate
WARMUP=${WARMUP:-0.1}                        # share of all steps
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
ZERO_STAGE=${ZERO_STAGE:-3}                  # DeepSpeed ZeRO, 0 to 3

say_batch "$BATCH" "$ACCUMULATION"
launch_training training.reward_model.train_rm \
  --ranked_candidate_num "$CANDIDATE_NUM" \
  --per_device_eval_batch_size "$BATCH" \
  --learning_rate "$LR" \
  --zero_stage "$ZERO_STAGE" \
  "$@"
