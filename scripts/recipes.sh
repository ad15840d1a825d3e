#!/usr/bin/env bash
# All recipes on the tiny world, one after the other: that each runs. A second run goes on from what is there.
#
#   bash scripts/recipes.sh              all
#   bash scripts/recipes.sh rlaif_v      only these
#
# Environment: OUT (default models/recipes/tiny).
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${OUT:-models/recipes/tiny}
ALL="chair_dpo r1v_counting rlaif_v skywork_vl_reward llava_rlhf rovrm opa_dpo"
for name in ${*:-$ALL}; do
  SIZE=tiny OUT=$OUT/$name bash "recipes/$name.sh"
done
