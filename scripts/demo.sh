#!/usr/bin/env bash
# The whole pipeline on the demo world: SFT, reward model, best-of-n, DPO, PPO, evaluation, report.
#
#   bash scripts/demo.sh            about 20 minutes on two cores; a second run goes on from what is there
#   bash scripts/demo.sh --quick    a first look in three minutes, too short to learn much
#   bash scripts/demo.sh --fresh    starts again
#
# Environment: DEMO (output folder, default models/demo), SEED (default 0).
set -euo pipefail
cd "$(dirname "$0")/.."

DEMO=${DEMO:-models/demo}
SEED=${SEED:-0}
SCENES=6000 SFT_STEPS=500 SAMPLED=2500 RM_STEPS=250 DPO_STEPS=120 PPO_STEPS=80 CRITIC_STEPS=5 NUM_VAL=300 NUM_TEST=500 BATCH_SIZE=64
for argument in "$@"; do
  case $argument in
    --quick) DEMO=${DEMO}-quick SCENES=300 SFT_STEPS=12 SAMPLED=24 RM_STEPS=6 DPO_STEPS=4 PPO_STEPS=3 CRITIC_STEPS=1 NUM_VAL=24
             NUM_TEST=24 BATCH_SIZE=16 ;;
    --fresh) FRESH=1 ;;
    *) echo "error: $argument: unknown; expected --quick or --fresh" >&2; exit 2 ;;
  esac
done
[[ -n ${FRESH:-} ]] && rm -rf "$DEMO"
WORLD=$DEMO/world
SPLIT=${SPLIT:-test}
source scripts/setup.sh
started=$SECONDS

say() { printf '\n== %s  [%d min %d s]\n' "$1" $(( (SECONDS - started) / 60 )) $(( (SECONDS - started) % 60 )); }

# predict NAME MODEL PROMPTS VARIABLE=VALUE... FLAGS...: answers into $DEMO/answers/NAME.jsonl, unless they are there.
predict() {
  local name=$1 model=$2 prompts=$3 settings=(); shift 3
  [[ -f $DEMO/answers/$name.jsonl ]] && return
  while [[ ${1:-} == *=* ]]; do settings+=("$1"); shift; done
  env MODEL="$model" DATA="$WORLD/$prompts" OUTPUT="$DEMO/answers" NAME="$name.jsonl" BATCH=64 \
    MAX_RESPONSE_LEN=40 "${settings[@]}" bash run_predict.sh --seed "$SEED" "$@"
}

# measure NAME MODEL: greedy and sampled answers on the test pictures, and what they are worth.
measure() {
  predict "$1-greedy" "$2" "prompts_$SPLIT.json" TEMPERATURE=0
  predict "$1-sampled" "$2" "prompts_$SPLIT.json" TEMPERATURE=1
  for decoding in greedy sampled; do
    python -m eval.score --bench descriptions --truth "$WORLD/truth_$SPLIT.json" \
      --predictions "$DEMO/answers/$1-$decoding.jsonl" --output "$DEMO/scores/$1-$decoding.json"
  done
  predict "$1-pope" "$2" "pope_$SPLIT.json" TEMPERATURE=0
  python -m eval.score --bench pope --truth "$WORLD/pope_$SPLIT.json" \
    --predictions "$DEMO/answers/$1-pope.jsonl" --output "$DEMO/scores/$1-pope.json"
}

say "the demo world and a tiny LLaVA"
if [[ ! -f $WORLD/sft_test_new.json ]]; then
  python -m data.demo_world --output "$WORLD" --num_train $SCENES --num_val $NUM_VAL --num_test $NUM_TEST --seed "$SEED"
fi
if [[ ! -f $DEMO/tiny/config.json ]]; then
  python -m data.demo_model --output "$DEMO/tiny" --texts "$WORLD" --seed "$SEED"
fi

say "supervised fine-tuning on captions that invent partners"
MODEL=$DEMO/tiny DATA=$WORLD/sft_train.json OUTPUT=$DEMO/sft BATCH=$BATCH_SIZE ACCUMULATION=1 LR=1e-3 WARMUP=0.08 \
  MAX_SEQ_LEN=128 ZERO_STAGE=0 bash run_sft.sh --vis_encoder_update --packing --gradient_checkpointing false \
  --max_steps $SFT_STEPS --eval_data_path "$WORLD/sft_val.json" --eval_step 10000 --seed "$SEED"
measure sft "$DEMO/sft"

say "answers of that model, ranked by the truth, with edited captions: preference data"
predict samples-train "$DEMO/sft" prompts_train.json TEMPERATURE=1 SAMPLES=6 --dataset_samples $SAMPLED
python -m data.demo_pairs --truth "$WORLD/truth_train.json" --predictions "$DEMO/answers/samples-train.jsonl" \
  --also "$WORLD/pairs_train.json" --output "$WORLD/preferences_train.json"

say "reward model"
MODEL=$DEMO/sft DATA=$WORLD/preferences_train.json OUTPUT=$DEMO/reward_model BATCH=$BATCH_SIZE ACCUMULATION=1 LR=3e-4 \
  MAX_SEQ_LEN=192 ZERO_STAGE=0 bash run_rm_training.sh --packing --gradient_checkpointing false \
  --max_steps $RM_STEPS --eval_data_path "$WORLD/pairs_val.json" --eval_step 150 --seed "$SEED"
score_pairs() {
  [[ -f $DEMO/scores/$1.jsonl ]] && return
  local name=$1 data=$2
  python -m training.reward_model.score --from_checkpoint "$DEMO/reward_model" --data_path "$WORLD/$data" \
    --output_path "$DEMO/scores/$name.jsonl" --health_path "$DEMO/health/$name" --batch_size 64
}
score_pairs "rewards-$SPLIT" "pairs_$SPLIT.json"
predict "samples-$SPLIT" "$DEMO/sft" "prompts_$SPLIT.json" TEMPERATURE=1 SAMPLES=6
python -m data.demo_pairs --truth "$WORLD/truth_$SPLIT.json" --predictions "$DEMO/answers/samples-$SPLIT.jsonl" \
  --output "$WORLD/sampled_$SPLIT.json"
score_pairs "rewards-sampled-$SPLIT" "sampled_$SPLIT.json"

say "best of 8 samples"
predict best-of-8 "$DEMO/sft" "prompts_$SPLIT.json" TEMPERATURE=1 SAMPLES=8 REWARD_MODEL="$DEMO/reward_model"
python -m eval.score --bench descriptions --best --truth "$WORLD/truth_$SPLIT.json" \
  --predictions "$DEMO/answers/best-of-8.jsonl" --output "$DEMO/scores/best-of-8.json"

say "DPO"
MODEL=$DEMO/sft DATA=$WORLD/preferences_train.json OUTPUT=$DEMO/dpo BATCH=$BATCH_SIZE ACCUMULATION=1 LR=1e-4 \
  MAX_SEQ_LEN=192 ZERO_STAGE=0 bash run_dpo_training.sh --loss_type sigmoid sft --packing --gradient_checkpointing false \
  --max_steps $DPO_STEPS --eval_data_path "$WORLD/pairs_val.json" --eval_step 60 --seed "$SEED"
measure dpo "$DEMO/dpo"

say "PPO"
MODEL=$DEMO/sft REWARD_MODEL=$DEMO/reward_model DATA=$WORLD/prompts_train.json OUTPUT=$DEMO/ppo BATCH=32 \
  ACCUMULATION=1 MINIBATCHES=2 PPO_EPOCHS=2 SAMPLES=4 MAX_RESPONSE_LEN=32 ACTOR_LR=1e-4 CRITIC_LR=3e-4 KL_COEF=0.02 \
  CRITIC_ONLY_STEPS=$CRITIC_STEPS ACTOR_ZERO_STAGE=0 CRITIC_ZERO_STAGE=0 MAX_STEPS=$PPO_STEPS \
  bash run_ppo_training.sh --gradient_checkpointing false --seed "$SEED"
measure ppo "$DEMO/ppo"

say "report"
python -m data.demo_report --demo "$DEMO" --split "$SPLIT"
python -m eval.report --spec "$DEMO/report.json" --output "$DEMO/report.html"
say "done"
