#!/usr/bin/env bash
# Sets up what is needed, then runs all checks and tests. Arguments go to pytest.
# Environment: TEST_WORKERS (default 2) processes that run tests.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh

ruff check .
ruff format --check .
for script in run_*.sh scripts/*.sh recipes/*.sh .ci/run; do bash -n "$script"; done
python -m compileall -q training eval demo data tests
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # tiny models: more threads only wait for each other
python -m pytest -q -n "${TEST_WORKERS:-2}" --dist worksteal --durations=15 "$@"
