#!/usr/bin/env bash
# RoVRM (arXiv 2408.12109): a reward model in three phases, on textual preferences, on visual ones with a caption in the
# place of the image, and on visual ones. Before it, data are selected backwards: captioned ones that serve the visual
# ones, then textual ones that serve the captioned ones that were kept. A second run goes on from what is there, and
# refuses what was made with other settings.
#
#   MODEL=models/sft TEXT=text.json CAPTIONED=captioned.json VISUAL=pairs.json bash scripts/rovrm.sh
#
# CAPTIONED is made by `python -m data.caption_preferences`. Arguments go to run_rm_training.sh in every phase, and its
# settings (BATCH, EPOCHS, MAX_SEQ_LEN, ...) can be given from outside.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
source scripts/once.sh

export MODEL=${MODEL:?expected a model folder, or the output folder of SFT}
TEXT=${TEXT:?expected a file of textual preferences}
CAPTIONED=${CAPTIONED:?expected a file of preferences with captions}
VISUAL=${VISUAL:?expected a file of visual preferences}
export IMAGES=${IMAGES:-$(dirname "$VISUAL")}        # folder that image paths start from
OUTPUT=${OUTPUT:-models/rovrm}                       # output folder; the reward model is in OUTPUT/visual
SELECT=${SELECT:-transport}                          # how data are selected: transport, random or none
KEEP_TEXT=${KEEP_TEXT:-20000}                        # textual records to keep
KEEP_CAPTIONED=${KEEP_CAPTIONED:-10000}              # captioned records to keep
TEXT_LR=${TEXT_LR:-2e-5}                             # peak learning rate of each phase
CAPTIONED_LR=${CAPTIONED_LR:-1e-6}
VISUAL_LR=${VISUAL_LR:-1e-6}
SELECTOR_CANDIDATES=${SELECTOR_CANDIDATES:-2000}     # records that the selecting models are warmed up on
SELECTOR_TARGET=${SELECTOR_TARGET:-3000}             # and those of the target
SELECTOR_LR=${SELECTOR_LR:-1e-4}                     # peak learning rate of the warm-up
SELECTOR_FLAGS=${SELECTOR_FLAGS:---lang_lora_dim 64} # flags of the warm-up alone
SELECT_FLAGS=${SELECT_FLAGS:-}                       # flags of training/reward_model/select_data.py
SEED=${SEED:-1234}                                   # seed of every random choice

say() { printf '\n== %s\n' "$1"; }

# train NAME LEARNING_RATE DATA FLAGS...: a reward model into OUTPUT/NAME.
train() {
  local name=$1 learning_rate=$2 data=$3; shift 3
  say "$name"
  DATA=$data OUTPUT=$OUTPUT/$name LR=$learning_rate bash run_rm_training.sh "$@" --seed "$SEED"
}

# choose NAME CANDIDATES TARGET COUNT FLAGS...: candidates that serve the target, into OUTPUT/NAME.json.
choose() {
  local name=$1 candidates=$2 target=$3 count=$4; shift 4
  if [[ $SELECT == random ]]; then
    once "$OUTPUT/$name.json" python -m data.draw --files "$candidates" --counts "$count" --output "$OUTPUT/$name.json" \
      --seed "$SEED"
    return
  fi
  python -m data.draw --files "$candidates" "$target" --counts "$SELECTOR_CANDIDATES" "$SELECTOR_TARGET" \
    --output "$OUTPUT/selector-$name.json" --seed "$SEED"
  train "selector-$name" "$SELECTOR_LR" "$OUTPUT/selector-$name.json" "$@" $SELECTOR_FLAGS
  # The selecting model counts by its log: one that was trained anew, or for longer, has another.
  once "$OUTPUT/$name.json" env SELECTED_BY="$OUTPUT/selector-$name/log.jsonl" \
    python -m training.reward_model.select_data --from_checkpoint "$OUTPUT/selector-$name" \
    --candidates "$candidates" --target "$target" --image_folder "$IMAGES" --num_keep "$count" \
    --output_path "$OUTPUT/$name.json" --seed "$SEED" $SELECT_FLAGS
}

case $SELECT in
  transport | random)
    choose captioned "$CAPTIONED" "$VISUAL" "$KEEP_CAPTIONED" "$@"
    choose text "$TEXT" "$OUTPUT/captioned.json" "$KEEP_TEXT" "$@"
    TEXT=$OUTPUT/text.json CAPTIONED=$OUTPUT/captioned.json ;;
  none) ;;
  *) echo "error: SELECT=$SELECT: unknown; expected transport, random or none" >&2; exit 2 ;;
esac

train phase-1-text "$TEXT_LR" "$TEXT" "$@"
MODEL=$OUTPUT/phase-1-text train phase-2-captioned "$CAPTIONED_LR" "$CAPTIONED" "$@"
MODEL=$OUTPUT/phase-2-captioned train visual "$VISUAL_LR" "$VISUAL" "$@"
