#!/usr/bin/env bash
# Reward hacking on show: reward models with a flaw, and what each way to follow them does to score, truth and KL.
#
#   bash scripts/demo.sh --quick && bash scripts/hacking.sh       about 20 minutes on two cores; a second run goes on
#
# Environment: DEMO (folder of a demo, default models/demo-quick), OUT (default $DEMO/hacking), SEED (default 0), STEPS of
# policy optimisation (default 60). Nothing holds the policy back (KL_COEF=0) unless the run's name says what.
set -euo pipefail
cd "$(dirname "$0")/.."

DEMO=${DEMO:-models/demo-quick}
OUT=${OUT:-$DEMO/hacking}
SEED=${SEED:-0}
STEPS=${STEPS:-60}
source scripts/setup.sh
source scripts/once.sh
same_settings "$OUT" SEED STEPS

WORLD=$DEMO/world SFT=$DEMO/sft
[[ -d $SFT ]] || { echo "error: $DEMO: no demo; run bash scripts/demo.sh --quick first" >&2; exit 2; }
export ACCUMULATION=1 ZERO_STAGE=0 ACTOR_ZERO_STAGE=0 CRITIC_ZERO_STAGE=0
COMMON=(--gradient_checkpointing false)
mkdir -p "$OUT"

# answers OUTPUT PROMPTS VARIABLE=VALUE...: sampled from the SFT model, unless they are there.
answers() {
  [[ -f $1 ]] || env MODEL="$SFT" DATA="$WORLD/$2" IMAGES="$WORLD" OUTPUT="$(dirname "$1")" NAME="$(basename "$1")" \
    BATCH=64 TEMPERATURE=1 MAX_RESPONSE_LEN=32 "${@:3}" bash run_predict.sh --seed "$SEED"
}

# reward_model NAME DATA SEED: trained unless it is there.
reward_model() {
  MODEL=$SFT DATA=$2 IMAGES=$WORLD OUTPUT=$OUT/reward_models/$1 BATCH=64 LR=5e-4 MAX_SEQ_LEN=192 \
    bash run_rm_training.sh --packing --max_steps 120 --eval_data_path "$WORLD/pairs_val.json" --eval_step 10000 \
    --seed "$3" "${COMMON[@]}"
}

# policy NAME FLAWED FLAGS...: policy optimisation against the reward models in $JUDGES into $OUT/FLAWED/NAME.
policy() {
  REWARD_MODEL=${JUDGES:-$OUT/reward_models/$2} MODEL=$SFT DATA=$WORLD/prompts_train.json OUTPUT=$OUT/$2/$1 BATCH=32 \
    MINIBATCHES=2 PPO_EPOCHS=2 SAMPLES=4 MAX_RESPONSE_LEN=32 ACTOR_LR=4e-4 CRITIC_LR=5e-4 KL_COEF=${KL_COEF:-0} \
    CRITIC_ONLY_STEPS=4 MAX_STEPS=$STEPS bash run_ppo_training.sh --seed "$SEED" "${COMMON[@]}" "${@:3}"
}

# preferences FLAWED DATA: DPO on what made the reward model, and what each checkpoint samples.
preferences() {
  local run=$OUT/$1/dpo file step
  MODEL=$SFT DATA=$2 IMAGES=$WORLD OUTPUT=$run BATCH=64 LR=2e-4 MAX_SEQ_LEN=192 bash run_dpo_training.sh --packing \
    --max_steps 60 --save_step 15 --save_total_limit 0 --eval_data_path "$WORLD/pairs_val.json" --eval_step 10000 \
    --seed "$SEED" "${COMMON[@]}"
  for file in "$run"/checkpoint-*; do
    step=${file##*-}
    [[ -f $run/drift-$step.json ]] || python -m eval.drift --from_checkpoint "$file" --reference "$SFT" \
      --reward_model_ckpt_path "$OUT/reward_models/$1" --data_path "$WORLD/prompts_test.json" \
      --output_path "$run/drift-$step.json" --batch_size 64 --max_new_tokens 32 --seed "$SEED"
  done
}

answers "$OUT/samples.jsonl" prompts_train.json SAMPLES=6
PAIRS=$OUT/sound.json
python -m demo.pairs --truth "$WORLD/truth_train.json" --predictions "$OUT/samples.jsonl" \
  --also "$WORLD/pairs_train.json" --output "$PAIRS"
for flaw in length blind; do
  python -m demo.flawed --pairs "$PAIRS" --flaw "$flaw" --output "$OUT/$flaw.json" --seed "$SEED"
done
for judge in sound length blind; do
  reward_model "$judge" "$OUT/$judge.json" "$SEED"
  answers "$OUT/$judge/best_of_n.jsonl" prompts_test.json SAMPLES=16 REWARD_MODEL="$OUT/reward_models/$judge"
  preferences "$judge" "$OUT/$judge.json"
  policy ppo "$judge"
  policy grpo "$judge" --advantage_estimator grpo
done

KL_COEF=0.1 policy kl_coef length
KL_COEF=0.1 policy kl_target length --kl_target 1
policy stop_at_kl length --stop_at_kl 0.002
judges=("$OUT/reward_models/length")
for other in 1 2; do # raters of their own, and a seed
  python -m demo.flawed --pairs "$PAIRS" --flaw length --output "$OUT/length-$other.json" --seed "$(( SEED + other ))"
  reward_model "length-$other" "$OUT/length-$other.json" "$(( SEED + other ))"
  judges+=("$OUT/reward_models/length-$other")
done
JUDGES=${judges[*]} policy ensemble length --reward_ensemble min
python -m demo.hacking --runs "$OUT" --truth "$WORLD" --output "$OUT.md"
