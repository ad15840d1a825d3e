#!/usr/bin/env bash
# RoVRM on the demo world, where few visual preferences are at hand (4 % of the pairs) and many textual ones, of which
# some are of use. Run scripts/demo.sh first, with each seed. It ends with a table of pair accuracy: a reward model of
# the visual pairs alone, for as many steps as one phase (vanilla) and as all three (vanilla-long), and ones of three
# phases with data selected at random and by optimal transport.
#
# Environment: SEEDS (default "0 1 2"), DEMO (start of the demo's output folders, as of scripts/seeds.sh, default
#              models/demo), OUT (default DEMO-rovrm), SPLIT (test; settings are chosen on val),
#              VARIANTS (default all), STEPS of a phase (default 100).
set -euo pipefail
cd "$(dirname "$0")/.."

SEEDS=${SEEDS:-0 1 2}
DEMO=${DEMO:-models/demo}
OUT=${OUT:-$DEMO-rovrm}
SPLIT=${SPLIT:-test}
VARIANTS=${VARIANTS:-vanilla vanilla-long random transport}
STEPS=${STEPS:-100}
source scripts/setup.sh
source scripts/once.sh

export BATCH=32 ACCUMULATION=1 MAX_SEQ_LEN=192 ZERO_STAGE=0 KEEP_TEXT=700 KEEP_CAPTIONED=800
export TEXT_LR=3e-4 CAPTIONED_LR=3e-4 VISUAL_LR=3e-4 SELECTOR_CANDIDATES=400 SELECTOR_TARGET=600 SELECTOR_LR=1e-3
export SELECTOR_FLAGS="--lang_lora_dim 16 --max_steps 100"
export SELECT_FLAGS="${SELECT_FLAGS:---target_samples 300 --projection_dim 512 --unit_gradients}"

same_settings "$OUT" STEPS SELECT_FLAGS

for seed in $SEEDS; do
  sft=$DEMO-$seed/sft world=$DEMO-$seed/world folder=$OUT/$seed
  if [[ ! -f $folder/visual.json ]]; then
    python -m demo.text_preferences --truth "$world/truth_train.json" --output "$folder" --num_records 2000 \
      --seed "$seed"
    python -m data.draw --files "$world/pairs_train.json" --counts 1500 --output "$folder/described.json" \
      --seed $(( seed + 1000 ))
    python -m data.caption_preferences --preferences "$folder/described.json" --captions "$folder/captions.json" \
      --output "$folder/captioned.json"
    python -m data.draw --files "$world/pairs_train.json" --counts 200 --output "$folder/visual.json" --seed "$seed"
  fi
  flags=(--packing --gradient_checkpointing false --max_steps "$STEPS" --eval_data_path "$world/pairs_val.json"
         --eval_step 10000)
  for variant in $VARIANTS; do
    if [[ $variant == vanilla* ]]; then
      [[ $variant == vanilla-long ]] && steps=$(( 3 * STEPS )) || steps=$STEPS
      MODEL=$sft DATA=$folder/visual.json IMAGES=$world OUTPUT=$folder/$variant/visual LR=$VISUAL_LR \
        bash run_rm_training.sh "${flags[@]}" --max_steps "$steps" --seed "$seed"
    else
      MODEL=$sft TEXT=$folder/text.json CAPTIONED=$folder/captioned.json VISUAL=$folder/visual.json IMAGES=$world \
        OUTPUT=$folder/$variant SELECT=$variant SEED=$seed bash scripts/rovrm.sh "${flags[@]}"
    fi
    [[ -f $folder/$variant/rewards-$SPLIT.jsonl ]] || python -m training.reward_model.score --batch_size 64 \
      --from_checkpoint "$folder/$variant/visual" --data_path "$world/pairs_$SPLIT.json" \
      --output_path "$folder/$variant/rewards-$SPLIT.jsonl"
  done
done
python -m demo.rovrm_table --folder "$OUT" --seeds $SEEDS --variants $VARIANTS --split "$SPLIT"
