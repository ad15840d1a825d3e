#!/usr/bin/env bash
# What the steps of the stages ask of a GPU, counted without one: see docs/rehearsal.md.
#
#   bash scripts/rehearse.sh                       all stages of all models; one takes a minute or so
#   bash scripts/rehearse.sh dpo llava-1.5 7b      one of them, and the lines that wait for the device
#
# Stages: sft, rm, dpo, ppo, grpo, generate. Models: llava-1.5 (7b, 13b), llava-next (7b), llama-3.2-vision (11b),
# qwen2.5-vl (7b).
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} python -W ignore -m scripts.rehearse "$@"
