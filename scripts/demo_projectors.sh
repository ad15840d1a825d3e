#!/usr/bin/env bash
# Models from scratch on the demo world: the same vision tower (a CLIP with random weights) and language model with each
# projector, every part trained. Run scripts/demo.sh first. It ends with a table.
#
# Environment: DEMO (the demo's output folder, default models/demo), SEED (default 0), STEPS (default 500),
#              PROJECTORS (default all), OUT (default DEMO/projectors).
set -euo pipefail
cd "$(dirname "$0")/.."

DEMO=${DEMO:-models/demo}
SEED=${SEED:-0}
STEPS=${STEPS:-500}
PROJECTORS=${PROJECTORS:-baseline vit perceiver mlp2x_gelu}
WORLD=$DEMO/world
OUT=${OUT:-$DEMO/projectors}
source scripts/setup.sh
source scripts/once.sh
same_settings "$OUT" SEED STEPS

[[ -d $OUT/clip ]] || python -m demo.model --output "$OUT/clip" --texts "$WORLD" --seed "$SEED"
[[ -d $OUT/parts ]] || python -m demo.parts --model "$OUT/clip" --output "$OUT/parts"
for projector in $PROJECTORS; do
  printf '\n== %s\n' "$projector"
  LM=$OUT/parts/language VISION=$OUT/parts/vision PROJECTOR=$projector TEMPLATE=mistral DATA="$WORLD/captions_train.json $WORLD/questions_train.json" \
    OUTPUT=$OUT/$projector BATCH=64 ACCUMULATION=1 LR=1e-3 WARMUP=0.08 MAX_SEQ_LEN=256 ZERO_STAGE=0 \
    bash scripts/run_pre_training.sh --num_queries 9 --vis_encoder_update --lang_decoder_update --packing \
    --gradient_checkpointing false --max_steps "$STEPS" --eval_data_path "$WORLD/captions_val.json" --eval_step 10000 \
    --seed "$SEED"
  if [[ ! -f $OUT/$projector.jsonl ]]; then
    MODEL=$OUT/$projector DATA=$WORLD/prompts_test.json OUTPUT=$OUT NAME=$projector.jsonl BATCH=64 \
      MAX_RESPONSE_LEN=40 bash run_predict.sh
  fi
  python -m eval.score --bench descriptions --truth "$WORLD/truth_test.json" --predictions "$OUT/$projector.jsonl" \
    --output "$OUT/$projector.json"
done

printf '\n%-12s %14s %8s %8s\n' projector "held-out loss" "Hal %" "Cover %"
for projector in $PROJECTORS; do
  python - "$OUT/$projector" <<'EOF'
import json, sys
from pathlib import Path

run = Path(sys.argv[1])
losses = [line["eval_loss"] for line in map(json.loads, (run / "log.jsonl").open()) if "eval_loss" in line]
metrics = json.loads(run.with_suffix(".json").read_text())["metrics"]
print(f"{run.name:12} {losses[-1]:14.4f} {metrics['Hal']:8.1f} {metrics['Cover']:8.1f}")
EOF
done
