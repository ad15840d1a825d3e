#!/usr/bin/env bash
# The demo once for each seed, then a table of mean and spread: the figures of the README.
#
#   bash scripts/seeds.sh            some hours on two cores; a second run goes on from what is there
#   bash scripts/seeds.sh --fresh    starts again
#
# Environment: SEEDS (default "0 1 2"), DEMO (start of the output folders' names, default models/demo).
set -euo pipefail
cd "$(dirname "$0")/.."

SEEDS=${SEEDS:-0 1 2}
DEMO=${DEMO:-models/demo}
source scripts/setup.sh

[[ " $* " == *" --quick "* ]] && suffix=-quick || suffix=
demos=()
for seed in $SEEDS; do
  DEMO=$DEMO-$seed SEED=$seed bash scripts/demo.sh "$@"
  demos+=("$DEMO-$seed$suffix")
done
python -m demo.table --demos "${demos[@]}" --output "$DEMO.md"
