#!/usr/bin/env bash
# What the steps of the stages take on one GPU of 80 GB, at the shapes of LLaVA-1.5-7B and Qwen2.5-VL-7B with random
# weights, in 12 minutes: seconds, tokens a second, share of what a matrix product reaches (MFU), peak memory; trees
# against rows, and what else speeds a step up. It writes docs/gpu.md after each row, and runs tests/gpu.
#
#   bash scripts/gpu_check.sh                         on a GPU
#   bash scripts/gpu_check.sh --only llava-1.5:dpo    one section of it
#   SIZE=tiny bash scripts/gpu_check.sh               a rehearsal, on a CPU
#
# Environment: SIZE (7b or tiny), OUTPUT (default docs/gpu.md, of a rehearsal models/gpu_check/gpu.md).
set -euo pipefail
cd "$(dirname "$0")/.."

SIZE=${SIZE:-7b}
[[ $SIZE == 7b ]] && PAGE=docs/gpu.md || PAGE=models/gpu_check/gpu.md
python -W ignore -m scripts.gpu_check --size "$SIZE" --output "${OUTPUT:-$PAGE}" "$@"
