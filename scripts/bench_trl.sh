#!/usr/bin/env bash
# Whole optimizer steps of this project against those of TRL's trainers, from the same files, in alternating processes:
# DPO, GRPO; and the reward model against a row for each answer. See docs/speed.md.
#
#   bash scripts/bench_trl.sh                       about 20 minutes on 2 quiet cores
#   bash scripts/bench_trl.sh --only dpo --rounds 5
#
# Environment: OUT (default models/bench_trl), TRL_FOLDER (default models/trl-VERSION).
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/trl.sh
python -m scripts.bench_trl --output "${OUT:-models/bench_trl}" "$@"
