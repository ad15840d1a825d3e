# Sourced by the scripts that need TRL: it goes into a folder of its own, not into the environment, which has all that
# TRL needs.

source scripts/setup.sh
TRL=1.16.0
TRL_FOLDER=${TRL_FOLDER:-models/trl-$TRL}
[[ -d $TRL_FOLDER ]] || pip install --quiet --no-deps --target "$TRL_FOLDER" "trl==$TRL"
export PYTHONPATH=$TRL_FOLDER TRL_EXPERIMENTAL_SILENCE=1 CUDA_VISIBLE_DEVICES=""
