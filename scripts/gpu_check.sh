#!/usr/bin/env bash
# What the stages do on one GPU at the size of LLaVA-1.5-7B, in bf16, with random weights: tokens per second, share of
# the peak arithmetic (MFU), peak memory, generation rate, trees against separate rows. It writes docs/gpu.md.
#
#   bash scripts/gpu_check.sh           about 10 minutes on an 80 GB GPU
#   SIZE=tiny bash scripts/gpu_check.sh a rehearsal, also on a CPU
#
# Environment: SIZE (7b or tiny), OUT (default models/gpu_check), STEPS (default 6),
#              PEAK_TFLOPS (default 989, H100/H200).
set -euo pipefail
cd "$(dirname "$0")/.."

SIZE=${SIZE:-7b}
OUT=${OUT:-models/gpu_check}
STEPS=${STEPS:-6}
PEAK_TFLOPS=${PEAK_TFLOPS:-989}
export NUM_PROCESSES=1 IMAGES=data/samples
MODEL=$OUT/$SIZE
[[ $SIZE == 7b ]] && PAGE=docs/gpu.md || PAGE=$OUT/gpu.md
rm -rf "$OUT"/{sft,reward_model,dpo,ppo,answers}

[[ -f $MODEL/config.json ]] || python -m scripts.gpu_check --make "$MODEL" --size "$SIZE"
data() { echo "$MODEL/$1.json"; }
# Adapters: the optimizer's state of all weights of a 7B model does not fit into 80 GB.
common=(--lang_lora_dim 64 --lang_lora_module_name self_attn --precision bf16 --data_train_split_ratio 1
  --save_step 1000 --num_train_epochs 100)
stage=("${common[@]}" --max_steps "$STEPS")
export MODEL ACCUMULATION=1

DATA=$(data sft) OUTPUT=$OUT/sft BATCH=8 bash run_sft.sh "${stage[@]}"
DATA=$(data ranked) OUTPUT=$OUT/dpo BATCH=4 bash run_dpo_training.sh "${stage[@]}"
rm -rf "$OUT"/{sft,dpo}/epoch-* # 14 GB each
DATA=$(data ranked) OUTPUT=$OUT/reward_model BATCH=4 bash run_rm_training.sh "${stage[@]}"
DATA=$(data prompts) OUTPUT=$OUT/ppo REWARD_MODEL=$OUT/reward_model BATCH=4 SAMPLES=4 MAX_RESPONSE_LEN=128 \
  MAX_STEPS=$STEPS CRITIC_ONLY_STEPS=0 CRITIC_ZERO_STAGE=2 bash run_ppo_training.sh "${common[@]}"
rm -rf "$OUT"/{reward_model,ppo}/epoch-*
DATA=$(data prompts) OUTPUT=$OUT/answers BATCH=16 SAMPLES=8 TEMPERATURE=1 MAX_RESPONSE_LEN=128 \
  bash run_predict.sh --precision bf16
python -m scripts.bench_trees | tee "$OUT/trees.txt"
python -m scripts.gpu_check --report "$OUT" --size "$SIZE" --peak_tflops "$PEAK_TFLOPS" --output "$PAGE"
