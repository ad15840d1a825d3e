#!/usr/bin/env bash
# Supervised fine-tuning. Settings can be given from outside: MODEL=... EPOCHS=1 bash run_sft.sh
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # model folder, e.g. a LLaVA-1.5 checkpoint
DATA=${DATA:-data/samples/sft.json}          # records: files or folders with spaces between, see data/README.md
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/sft}                 # output folder
TEMPLATE=${TEMPLATE:-auto}                   # prompt template, see training/utils/data/DST.py
EPOCHS=${EPOCHS:-3}                          # passes over the records
BATCH=${BATCH:-8}                            # records of a micro-batch on each device
ACCUMULATION=${ACCUMULATION:-2}              # micro-batches of an optimizer step
LR=${LR:-2e-5}                               # peak learning rate
WARMUP=${WARMUP:-0.03}                       # share of all steps
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
ZERO_STAGE=${ZERO_STAGE:-2}                  # DeepSpeed ZeRO, 0 to 3

say_batch "$BATCH" "$ACCUMULATION"
launch_training training.sft.train_sft \
  --per_device_eval_batch_size "$BATCH" \
  --learning_rate "$LR" \
  --zero_stage "$ZERO_STAGE" \
  "$@"
