#!/usr/bin/env bash
# A model from parts, and the training of its projector, everything else frozen. Then run_sft.sh goes on from it:
#   LM=llama-3-8b VISION=clip-vit-large-patch14 DATA=captions.json bash scripts/run_pre_training.sh
#   MODEL=models/pretrained DATA=my_sft.json bash run_sft.sh
# The other settings are those of run_sft.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

LM=${LM:?a folder of a language model, e.g. LLaMA-2 or LLaMA-3}
VISION=${VISION:?a folder of a CLIP, or open_clip:NAME=WEIGHTS}
PROJECTOR=${PROJECTOR:-baseline}             # baseline, vit, perceiver, mlp2x_gelu
export MODEL=none                            # there is none yet
export OUTPUT=${OUTPUT:-models/pretrained}   # output folder
export TEMPLATE=${TEMPLATE:-default}         # prompt template, see training/utils/data/DST.py
export EPOCHS=${EPOCHS:-1}                   # passes over the records
export LR=${LR:-1e-3}                        # peak learning rate

exec bash run_sft.sh \
  --model_architecture default \
  --lm_model_name_or_path "$LM" \
  --vision_model_name_or_path "$VISION" \
  --vis_proj "$PROJECTOR" \
  --lang_decoder_update false \
  "$@"
