#!/usr/bin/env bash
# Installs vLLM into an environment of its own (scripts/setup_vllm.sh), tries there all that takes it, and measures:
# docs/vllm.md has the figures. Without a GPU too. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup_vllm.sh

export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # tiny models: more threads only wait for each other
# What starts processes of its own shares a model; each other file is alone: vLLM ends the groups of its process.
commands=(tests/vllm/test_vllm_commands.py tests/vllm/test_serving.py)
try() { python -m pytest -q -rA --no-header --durations 5 -p no:cacheprovider "$@"; }
try "${commands[@]}" "$@"
for file in tests/vllm/test_*.py; do
  [[ " ${commands[*]} " == *" $file "* ]] || try "$file" "$@"
done
OMP_NUM_THREADS=2 python -W ignore -m scripts.bench_vllm
