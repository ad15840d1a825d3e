#!/usr/bin/env bash
# A model from parts, and the training of its projector, everything else frozen. Then run_sft.sh goes on from it.
#   LM=llama-3-8b VISION=clip-vit-large-patch14 DATA=captions.json bash scripts/run_pre_training.sh
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/launch.sh

LM=${LM:?a folder of a language model}       # e.g. LLaMA-2 or LLaMA-3
VISION=${VISION:?a folder of a CLIP, or open_clip:NAME=WEIGHTS}
PROJECTOR=${PROJECTOR:-baseline}             # baseline, vit, perceiver, mlp2x_gelu
DATA=${DATA:-data/samples/sft.json}          # records, see data/README.md
IMAGES=${IMAGES:-$(dirname "$DATA")}         # folder that image paths start from
OUTPUT=${OUTPUT:-models/pretrained}          # output folder
TEMPLATE=${TEMPLATE:-default}                # prompt template, see training/utils/data/DST.py
EPOCHS=${EPOCHS:-1}                          # passes over the records
BATCH=${BATCH:-8}                            # records of a micro-batch on each device
ACCUMULATION=${ACCUMULATION:-4}              # micro-batches of an optimizer step
LR=${LR:-1e-3}                               # peak learning rate
WARMUP=${WARMUP:-0.03}                       # share of all steps
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
ZERO_STAGE=${ZERO_STAGE:-2}                  # DeepSpeed ZeRO, 0 to 3

say_batch "$BATCH" "$ACCUMULATION"
launch training.sft.train_sft \
  --model_architecture default \
  --lm_model_name_or_path "$LM" \
  --vision_model_name_or_path "$VISION" \
  --vis_proj "$PROJECTOR" \
  --template "$TEMPLATE" \
  --data_path "$DATA" \
  --image_folder "$IMAGES" \
  --output_dir "$OUTPUT" \
  --resume auto \
  --num_train_epochs "$EPOCHS" \
  --per_device_train_batch_size "$BATCH" \
  --per_device_eval_batch_size "$BATCH" \
  --gradient_accumulation_steps "$ACCUMULATION" \
  --learning_rate "$LR" \
  --num_warmup_steps "$WARMUP" \
  --max_seq_len "$MAX_SEQ_LEN" \
  --zero_stage "$ZERO_STAGE" \
  --gradient_checkpointing \
  "$@"
