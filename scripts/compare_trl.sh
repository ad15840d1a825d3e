#!/usr/bin/env bash
# This project's losses against TRL's, step for step; see compare_trl.py. TRL goes into a folder of its own, not into the
# environment. It prints a table, and fails where the two differ.
#
#   bash scripts/compare_trl.sh              about 2 minutes on a CPU
#   bash scripts/compare_trl.sh --only kto   one loss
#
# Environment: OUT (default models/compare_trl).
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${OUT:-models/compare_trl}
TRL=1.16.0
source scripts/setup.sh

# All that TRL needs is here already.
[[ -d $OUT/trl-$TRL ]] || pip install --quiet --no-deps --target "$OUT/trl-$TRL" "trl==$TRL"
export PYTHONPATH=$OUT/trl-$TRL TRL_EXPERIMENTAL_SILENCE=1 CUDA_VISIBLE_DEVICES=""
python -m scripts.compare_trl --output "$OUT" "$@"
