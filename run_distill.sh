#!/usr/bin/env bash
# On-policy distillation from a larger model. Settings can be given from outside:
# MODEL=... TEACHER=... bash run_distill.sh
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # the student: model folder, or the output folder of SFT
TEACHER=${TEACHER:-$(tiny_model)}            # model folder with the same tokenizer
DATA=${DATA:-data/samples/ppo.json}          # prompts: files or folders with spaces between, see data/README.md
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/distilled}           # output folder
TEMPLATE=${TEMPLATE:-auto}                   # the student's prompt template, see training/utils/data/DST.py
EPOCHS=${EPOCHS:-1}                          # passes over the prompts
BATCH=${BATCH:-4}                            # prompts of a micro-batch on each device
ACCUMULATION=${ACCUMULATION:-4}              # micro-batches of an optimizer step
MAX_RESPONSE_LEN=${MAX_RESPONSE_LEN:-512}    # tokens of a sampled answer
BETA=${BETA:-0.5}                            # 0: KL(teacher | student), 1: KL(student | teacher), or between
ON_POLICY=${ON_POLICY:-1}                    # share of the prompts that the student answers itself
LR=${LR:-1e-5}                               # peak learning rate
WARMUP=${WARMUP:-0.03}                       # share of all steps
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
ZERO_STAGE=${ZERO_STAGE:-2}                  # DeepSpeed ZeRO of the student, 0 to 3
TEACHER_ZERO_STAGE=${TEACHER_ZERO_STAGE:-0}  # of the teacher: 0, or 3, which shares its weights out

say_batch "$BATCH" "$ACCUMULATION"
launch_training training.distill.train_distill \
  --teacher "$TEACHER" \
  --max_generation_length_of_sampling "$MAX_RESPONSE_LEN" \
  --jsd_beta "$BETA" \
  --on_policy_share "$ON_POLICY" \
  --learning_rate "$LR" \
  --zero_stage "$ZERO_STAGE" \
  --teacher_zero_stage "$TEACHER_ZERO_STAGE" \
  "$@"
