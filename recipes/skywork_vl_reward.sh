#!/usr/bin/env bash
# A vision reward model in the manner of Skywork-VL-Reward: Qwen2.5-VL-7B with a head, its tower frozen, first on
# preferences with pictures, then on those and textual ones; scored on VL-RewardBench.
#
# Data      VISUAL: preferences with pictures (LLaVA-Critic-113k, RLAIF-V), IMAGES; TEXT: without (Skywork-Reward-80K):
#           190,000 in all, 70 % with pictures. VL_REWARDBENCH: its official files, BENCH_IMAGES: their pictures.
# Settings  two stages with a frozen tower are published. Learning rates, batch size and epochs here are ours.
# Looks     health-1 and health-2 say after each stage whether it still looks at the pictures: text is mixed in by then.
# Expected  VL-RewardBench overall 73.1 (Qwen2.5-VL-7B before: 48.0, as a judge).
set -euo pipefail
source "$(dirname "$0")/shared.sh"

if [[ $SIZE == tiny ]]; then
  tiny_world
  MODEL=$BASE VISUAL=$WORLD/pairs.json TEXT=$WORLD/text_pairs.json IMAGES=$WORLD
  VL_REWARDBENCH=$WORLD/vl_rewardbench.jsonl BENCH_IMAGES=$WORLD
fi

FROZEN=(--vis_encoder_update false)

say "stage 1: preferences with pictures"
export BATCH=${BATCH:-4} ACCUMULATION=${ACCUMULATION:-4} IMAGES=${IMAGES:?pictures}
MODEL=${MODEL:?Qwen2.5-VL-7B-Instruct} DATA=${VISUAL:?preferences with pictures} OUTPUT=$OUT/stage-1 LR=1e-5 EPOCHS=1 \
  bash run_rm_training.sh "${FROZEN[@]}" "${FEW[@]}"
say "stage 2: with textual ones"
MODEL=$OUT/stage-1 DATA="$VISUAL ${TEXT:?textual preferences}" OUTPUT=$OUT/stage-2 LR=1e-6 EPOCHS=1 \
  bash run_rm_training.sh "${FROZEN[@]}" "${FEW[@]}"

say "VL-RewardBench"
for stage in 1 2; do
  mkdir -p "$OUT/answers"
  python -m training.reward_model.score --from_checkpoint "$OUT/stage-$stage" \
    --data_path "${VL_REWARDBENCH:?its files}" --image_folder "${BENCH_IMAGES:?pictures}" \
    --output_path "$OUT/answers/stage-$stage.jsonl" --health_path "$OUT/health-$stage"
  score "stage-$stage" vl_rewardbench "$VL_REWARDBENCH"
done
expected "model card of Skywork-VL-Reward-7B" "accuracy %, stage 1=-=$OUT/scores/stage-1.json:accuracy" \
  "accuracy %=73.1=$OUT/scores/stage-2.json:accuracy" \
  "with others' pictures, stage 1=-=$OUT/health-1/report.json:accuracy.shuffled" \
  "with others' pictures=-=$OUT/health-2/report.json:accuracy.shuffled"
