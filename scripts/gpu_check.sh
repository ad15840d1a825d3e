#!/usr/bin/env bash
# What the stages do on one GPU at the size of LLaVA-1.5-7B, in bf16, with random weights: tokens per second, share of
# the peak arithmetic (MFU), peak memory, generation rate, trees against separate rows. It writes docs/gpu.md.
#
#   bash scripts/gpu_check.sh           about 10 minutes on an 80 GB GPU
#   SIZE=tiny bash scripts/gpu_check.sh a rehearsal, also on a CPU
#
# Environment: SIZE (7b or tiny), OUT (default models/gpu_check), STEPS (default 6), PEAK_TFLOPS (default 989, H100/H200).
set -euo pipefail
cd "$(dirname "$0")/.."

SIZE=${SIZE:-7b}
export OUT=${OUT:-models/gpu_check} STEPS=${STEPS:-6}
export SIZE PEAK_TFLOPS=${PEAK_TFLOPS:-989} NUM_PROCESSES=1
MODEL=$OUT/$SIZE
LORA=(--lang_lora_dim 64 --lang_lora_module_name self_attn)
rm -rf "$OUT"/{sft,reward_model,dpo,ppo,answers}

[[ -f $MODEL/config.json ]] || python -m scripts.gpu_check --make "$MODEL" --size "$SIZE"
common=(--max_steps "$STEPS" --data_train_split_ratio 1 --save_step 1000 --gradient_checkpointing)
data() { echo "$MODEL/$1.json"; }

MODEL=$MODEL DATA=$(data sft) OUTPUT=$OUT/sft BATCH=8 ACCUMULATION=1 bash run_sft.sh "${common[@]}"
MODEL=$MODEL DATA=$(data ranked) OUTPUT=$OUT/reward_model BATCH=4 ACCUMULATION=1 bash run_rm_training.sh "${common[@]}" "${LORA[@]}"
MODEL=$MODEL DATA=$(data ranked) OUTPUT=$OUT/dpo BATCH=4 ACCUMULATION=1 bash run_dpo_training.sh "${common[@]}" "${LORA[@]}"
MODEL=$MODEL REWARD_MODEL=$OUT/reward_model DATA=$(data prompts) OUTPUT=$OUT/ppo BATCH=4 ACCUMULATION=1 SAMPLES=4 \
  MAX_RESPONSE_LEN=128 MAX_STEPS=$STEPS CRITIC_ONLY_STEPS=0 ACTOR_ZERO_STAGE=2 CRITIC_ZERO_STAGE=2 \
  bash run_ppo_training.sh "${common[@]}" "${LORA[@]}"
MODEL=$MODEL DATA=$(data prompts) OUTPUT=$OUT/answers BATCH=16 SAMPLES=8 TEMPERATURE=1 MAX_RESPONSE_LEN=128 bash run_predict.sh
python -m scripts.bench_trees > "$OUT/trees.txt"
python -m scripts.gpu_check --report "$OUT" --size "$SIZE" --output docs/gpu.md
