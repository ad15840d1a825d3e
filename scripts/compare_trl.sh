#!/usr/bin/env bash
# This project's losses against TRL's, step for step; see compare_trl.py. It prints a table, and fails where the two
# differ.
#
#   bash scripts/compare_trl.sh              about 3 minutes on a CPU
#   bash scripts/compare_trl.sh --only kto   one loss
#
# Environment: OUT (default models/compare_trl), TRL_FOLDER (default models/trl-VERSION).
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/trl.sh
python -m scripts.compare_trl --output "${OUT:-models/compare_trl}" "$@"
