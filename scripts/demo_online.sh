#!/usr/bin/env bash
# Rounds on the model's own answers against one round and against online steps, on the demo world: all make as many
# optimizer steps of as many prompts, from as many sampled answers, by the same rewards. A table over seeds, and a curve.
#
#   bash scripts/demo_online.sh                 some minutes a seed on one core; a second run goes on
#   bash scripts/demo_online.sh rounds online   only these
#
# one_round      all answers are sampled from the SFT model, then learned from
# rounds         run_online.sh in ROUNDS rounds; each is held to the model that it starts from
# rounds_start   the same, held to the SFT model
# online         run_dpo_training.sh with REWARDS: answers of each step are of the model as it is then
#
# Environment: SEEDS (default "0 1 2"), DEMO (start of the demo's output folders, default models/demo), SUFFIX (their end,
# default -quick; a demo that is not there is made), REWARDS (default the demo's reward model), OUT (folder in each demo,
# default online), and the settings below.
set -euo pipefail
cd "$(dirname "$0")/.."

SEEDS=${SEEDS:-0 1 2}
DEMO=${DEMO:-models/demo}
SUFFIX=${SUFFIX--quick}
OUT=${OUT:-online}
ROUNDS=${ROUNDS:-4}
STEPS=${STEPS:-80}         # optimizer steps, of all rounds together
BATCH=${BATCH:-16}         # prompts of a step
SAMPLES=${SAMPLES:-4}      # answers to each prompt
LOSS=${LOSS:-sigmoid sft}
LR=${LR:-2e-4}             # constant: rounds would else warm up and cool down more often
BETA=${BETA:-0.1}
REWARDS=${REWARDS:-}
source scripts/setup.sh
source scripts/once.sh

(( STEPS % ROUNDS == 0 )) || { echo "error: STEPS=$STEPS: expected a multiple of ROUNDS=$ROUNDS" >&2; exit 2; }
RUNS=${*:-one_round rounds rounds_start online}
PART=$(( STEPS / ROUNDS ))

for SEED in $SEEDS; do
  [[ -f $DEMO-$SEED$SUFFIX/reward_model/finished ]] || env -u BATCH -u SAMPLES -u BETA -u REWARDS \
    STAGES="sft reward_model" DEMO="$DEMO-$SEED" SEED="$SEED" bash scripts/demo.sh ${SUFFIX:+-$SUFFIX}
done
export BATCH SAMPLES LR BETA ACCUMULATION=1 WARMUP=0 ZERO_STAGE=0 MAX_SEQ_LEN=192

# learn NAME: into $RUN.
learn() {
  local shared=(--loss_type $LOSS --lr_scheduler_type constant --gradient_checkpointing false --save_step "$PART"
    --save_total_limit 0)
  export MODEL=$FROM/sft DATA=$FROM/world/prompts_train.json OUTPUT=$RUN MAX_RESPONSE_LEN=40 SEED
  case $1 in
    one_round) rounds 1 start ;;
    rounds) rounds "$ROUNDS" previous ;;
    rounds_start) rounds "$ROUNDS" start ;;
    online) REWARDS=$JUDGES bash run_dpo_training.sh --dataset_samples $(( STEPS * BATCH )) --max_steps "$STEPS" \
      --seed "$SEED" "${shared[@]}" ;;
    *) echo "error: $1: unknown; expected one_round, rounds, rounds_start or online" >&2; exit 2 ;;
  esac
}

# rounds NUMBER REFERENCE
rounds() {
  ROUNDS=$1 REFERENCE=$2 REWARDS=$JUDGES SAMPLE_BATCH=64 \
    SAMPLE_FLAGS="--dataset_samples $(( STEPS * BATCH ))" bash run_online.sh --packing --max_steps $(( STEPS / $1 )) \
    "${shared[@]}"
}

# model_after NAME STEP: the model that has made so many steps.
model_after() {
  case $1 in
    rounds*) echo "$RUN/round-$(( $2 / PART ))/model" ;;
    one_round) at "$RUN/round-1/model" "$2" ;;
    online) at "$RUN" "$2" ;;
  esac
}

at() { (( $2 == STEPS )) && echo "$1" || echo "$1/checkpoint-$2"; }

# measure NAME STEP MODEL: greedy answers to the test pictures, and what the rewards say of them.
measure() {
  [[ -f $FROM/$OUT/answers/$1-$2.jsonl ]] || MODEL=$3 DATA=$FROM/world/prompts_test.json OUTPUT=$FROM/$OUT/answers \
    NAME=$1-$2.jsonl BATCH=64 SAMPLES=1 MAX_RESPONSE_LEN=40 bash run_predict.sh --rewards $JUDGES --seed "$SEED"
}

for SEED in $SEEDS; do
  FROM=$DEMO-$SEED$SUFFIX
  JUDGES=${REWARDS:-$FROM/reward_model}
  same_settings "$FROM/$OUT" STEPS ROUNDS BATCH SAMPLES LOSS LR BETA REWARDS
  measure start 0 "$FROM/sft"
  for name in $RUNS; do
    RUN=$FROM/$OUT/$name
    learn "$name"
    for (( step = PART; step <= STEPS; step += PART )); do
      measure "$name" "$step" "$(model_after "$name" "$step")"
    done
  done
done
python -m demo.online --demos $(printf "$DEMO-%s$SUFFIX " $SEEDS) --folder "$OUT" --output "$DEMO$SUFFIX-$OUT.md"
