#!/usr/bin/env bash
# Direct preference optimisation. Settings can be given from outside: MODEL=... bash run_dpo_training.sh
# With REWARDS it learns from answers that the model samples in each step (online DPO), and DATA holds prompts.
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # model folder, or the output folder of SFT
DATA=${DATA:-data/samples/reward.json}       # ranked answers: files or folders with spaces between, see data/README.md
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/dpo}                 # output folder
TEMPLATE=${TEMPLATE:-auto}                   # prompt template, see training/utils/data/DST.py
CANDIDATE_NUM=${CANDIDATE_NUM:-2}            # answers of a prompt to use, the best first; 0: all
REWARDS=${REWARDS:-}                         # online: what scores sampled answers, "models/reward_model length:0.1"
SAMPLES=${SAMPLES:-4}                        # online: answers to each prompt, of which the best is set against the worst
MAX_RESPONSE_LEN=${MAX_RESPONSE_LEN:-512}    # online: tokens of an answer
ENGINE=${ENGINE:-own}                        # online: what samples them: own, or vllm (docs/vllm.md)
BETA=${BETA:-0.1}                            # weight of the KL to the reference
EPOCHS=${EPOCHS:-1}                          # passes over the records
BATCH=${BATCH:-4}                            # prompts of a micro-batch on each device
ACCUMULATION=${ACCUMULATION:-2}              # micro-batches of an optimizer step
LR=${LR:-1e-6}                               # peak learning rate
WARMUP=${WARMUP:-0.1}                        # share of all steps
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
ZERO_STAGE=${ZERO_STAGE:-2}                  # DeepSpeed ZeRO, 0 to 3

answers=(--ranked_candidate_num "$CANDIDATE_NUM")
if [[ -n $REWARDS ]]; then
  read -ra NAMED <<<"$REWARDS"
  answers=(--online --rewards "${NAMED[@]}" --num_generations "$SAMPLES" --rollout_engine "$ENGINE"
    --max_generation_length_of_sampling "$MAX_RESPONSE_LEN")
fi

say_batch "$BATCH" "$ACCUMULATION"
launch_training training.dpo.train_dpo \
  "${answers[@]}" \
  --beta "$BETA" \
  --per_device_eval_batch_size "$BATCH" \
  --learning_rate "$LR" \
  --zero_stage "$ZERO_STAGE" \
  "$@"
