#!/usr/bin/env bash
# Answers of a model to the prompts of a file. Settings can be given from outside: MODEL=... bash run_predict.sh
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # model folder, or the output folder of a stage
BENCH=${BENCH:-}                             # benchmark whose official files DATA is, see eval/README.md
REWARD_MODEL=${REWARD_MODEL:-}               # reward models that pick the best of the samples (best-of-n), if any
DATA=${DATA:-data/samples/predict.json}      # prompts, see data/README.md; or a benchmark's files
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/predictions}         # output folder
NAME=${NAME:-predictions.jsonl}              # file in it
TEMPLATE=${TEMPLATE:-auto}                   # prompt template, see training/utils/data/DST.py
BEAMS=${BEAMS:-1}                            # beams of beam search, with temperature 0 and one response
BATCH=${BATCH:-8}                            # prompts that are answered at a time on each device; vllm likes hundreds
ENGINE=${ENGINE:-own}                        # what samples: own, or vllm (docs/vllm.md)
SAMPLES=${SAMPLES:-1}                        # responses of a prompt
TEMPERATURE=${TEMPERATURE:-0}                # 0 is greedy
MAX_RESPONSE_LEN=${MAX_RESPONSE_LEN:-512}    # tokens of a response
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens of a prompt, image tokens included

launch eval.predict \
  --from_checkpoint "$MODEL" \
  ${REWARD_MODEL:+--reward_model_ckpt_path $REWARD_MODEL} \
  --template "$TEMPLATE" \
  --bench "$BENCH" \
  --data_path "$DATA" \
  --image_folder "$IMAGES" \
  --output_path "$OUTPUT/$NAME" \
  --batch_size "$BATCH" \
  --rollout_engine "$ENGINE" \
  --num_return_sequences "$SAMPLES" \
  --num_beams "$BEAMS" \
  --temperature "$TEMPERATURE" \
  --max_new_tokens "$MAX_RESPONSE_LEN" \
  --max_seq_len "$MAX_SEQ_LEN" \
  "$@"
