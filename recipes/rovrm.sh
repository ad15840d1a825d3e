#!/usr/bin/env bash
# RoVRM (arXiv 2408.12109): a reward model in three phases, textual preferences, visual ones with captions in place of
# the pictures, visual ones; each phase's data selected by optimal transport for the next.
#
# Data      TEXT: UltraFeedback, VISUAL: the visual preferences of the paper, with their pictures in IMAGES and CAPTIONS
#           of these; TEST: visual preferences to measure on. Any format of data/README.md.
# Settings  of the paper: 20,000 textual and 10,000 captioned records kept, learning rates 2e-5, 1e-6 and 1e-6.
# Expected  pair accuracy is not published as a number. What best-of-n, PPO and DPO gain by such a reward model is drawn
#           in the original's README; docs/from_vision_llm_alignment.md lists those figures.
set -euo pipefail
source "$(dirname "$0")/shared.sh"

if [[ $SIZE == tiny ]]; then
  tiny_world
  MODEL=$BASE TEXT=$WORLD/text_pairs.json VISUAL=$WORLD/pairs.json CAPTIONS=$WORLD/captions.json IMAGES=$WORLD
  TEST=$WORLD/pairs.json
  export KEEP_TEXT=8 KEEP_CAPTIONED=12 SELECTOR_CANDIDATES=8 SELECTOR_TARGET=8
  export SELECTOR_FLAGS="--lang_lora_dim 4" SELECT_FLAGS="--target_samples 8 --projection_dim 64"
fi

say "captions in place of pictures"
once "$OUT/captioned.json" python -m data.caption_preferences --preferences "${VISUAL:?visual preferences}" \
  --captions "${CAPTIONS:?captions}" --output "$OUT/captioned.json"
say "three phases"
MODEL=${MODEL:?llava-1.5-7b-hf} TEXT=${TEXT:?textual preferences} CAPTIONED=$OUT/captioned.json VISUAL=$VISUAL \
  IMAGES=${IMAGES:?pictures} OUTPUT=$OUT/phases bash scripts/rovrm.sh "${FEW[@]}"

say "pair accuracy"
mkdir -p "$OUT/answers"
for phase in phase-1-text phase-2-captioned visual; do
  python -m training.reward_model.score --from_checkpoint "$OUT/phases/$phase" --data_path "${TEST:?pairs}" \
    --image_folder "$IMAGES" --output_path "$OUT/answers/$phase.jsonl"
  score $phase preferences "$TEST"
done
expected "the paper draws its figures" "pair accuracy %, phase 1=-=$OUT/scores/phase-1-text.json:accuracy" \
  "phase 2=-=$OUT/scores/phase-2-captioned.json:accuracy" "phase 3=-=$OUT/scores/visual.json:accuracy"
