#!/usr/bin/env bash
# The whole pipeline on the demo world: a vision tower, SFT, reward model, best-of-n, DPO, PPO, GRPO, evaluation, report.
#
#   bash scripts/demo.sh            35 minutes on a core; a second run goes on from what is there, with the same sizes
#   bash scripts/demo.sh --quick    a first look in three minutes: a smaller world, SFT and DPO alone
#   bash scripts/demo.sh --fresh    starts again
#
# Environment: DEMO (output folder, default models/demo), SEED (default 0), SPLIT (measured, default test), ART (auto:
# photographs of Debian's packages where they can be had, else drawings; or a folder of cut-outs NAME.png), STAGES (of sft
# reward_model dpo ppo grpo; default all, --quick sft dpo), and every size below.
set -euo pipefail
cd "$(dirname "$0")/.."

DEMO=${DEMO:-models/demo}
SEED=${SEED:-0}
SPLIT=${SPLIT:-test}
STAGES=${STAGES:-}
for argument in "$@"; do
  case $argument in
    --quick) STAGES=${STAGES:-sft dpo} DEMO=${DEMO}-quick ART=${ART:-drawings} NAMES=${NAMES:-24} PICTURE_PX=${PICTURE_PX:-64}
             SCENES=${SCENES:-3000} NUM_VAL=${NUM_VAL:-60} NUM_TEST=${NUM_TEST:-200} NUM_NEW=${NUM_NEW:-20}
             LANGUAGE_STEPS=${LANGUAGE_STEPS:-400} CAPTIONS=${CAPTIONS:-32} DIALOGUES=${DIALOGUES:-0}
             TOWER_SCENES=${TOWER_SCENES:-24000} SFT_STEPS=${SFT_STEPS:-120} DPO_STEPS=${DPO_STEPS:-40} ;;
    --fresh) FRESH=1 ;;
    *) echo "error: $argument: unknown; expected --quick or --fresh" >&2; exit 2 ;;
  esac
done
STAGES=${STAGES:-sft reward_model dpo ppo grpo}
ART=${ART:-auto} NAMES=${NAMES:-80} PICTURE_PX=${PICTURE_PX:-96}
SCENES=${SCENES:-5000} NUM_VAL=${NUM_VAL:-200} NUM_TEST=${NUM_TEST:-400} NUM_NEW=${NUM_NEW:-150}
LANGUAGE_STEPS=${LANGUAGE_STEPS:-900} CAPTIONS=${CAPTIONS:-48} DIALOGUES=${DIALOGUES:-12}
TOWER_SCENES=${TOWER_SCENES:-54000} SFT_STEPS=${SFT_STEPS:-400} SAMPLED=${SAMPLED:-800} RM_STEPS=${RM_STEPS:-200}
DPO_STEPS=${DPO_STEPS:-100} PPO_STEPS=${PPO_STEPS:-50} CRITIC_STEPS=${CRITIC_STEPS:-5} GRPO_STEPS=${GRPO_STEPS:-40}
BATCH_SIZE=${BATCH_SIZE:-64} PROMPTS=${PROMPTS:-32}
[[ -n ${FRESH:-} ]] && rm -rf "$DEMO"
WORLD=$DEMO/world
source scripts/setup.sh
source scripts/once.sh
same_settings "$DEMO" SEED ART NAMES PICTURE_PX SCENES NUM_VAL NUM_TEST NUM_NEW LANGUAGE_STEPS CAPTIONS DIALOGUES \
  TOWER_SCENES SFT_STEPS SAMPLED RM_STEPS DPO_STEPS PPO_STEPS CRITIC_STEPS GRPO_STEPS BATCH_SIZE PROMPTS
started=$SECONDS

say() { printf '\n== %s  [%d min %d s]\n' "$1" $(( (SECONDS - started) / 60 )) $(( (SECONDS - started) % 60 )); }
has() { [[ " $STAGES " == *" $1 "* ]]; }

# What the stages share.
export ACCUMULATION=1 ZERO_STAGE=0 ACTOR_ZERO_STAGE=0 CRITIC_ZERO_STAGE=0 MAX_RESPONSE_LEN=40
COMMON=(--gradient_checkpointing false --seed "$SEED")

# predict NAME MODEL PROMPTS VARIABLE=VALUE... FLAGS...: answers into $DEMO/answers/NAME.jsonl, unless they are there.
predict() {
  local name=$1 model=$2 prompts=$3 settings=(); shift 3
  [[ -f $DEMO/answers/$name.jsonl ]] && return
  while [[ ${1:-} == *=* ]]; do settings+=("$1"); shift; done
  env MODEL="$model" DATA="$prompts" IMAGES="$WORLD" OUTPUT="$DEMO/answers" NAME="$name.jsonl" BATCH=64 \
    "${settings[@]}" bash run_predict.sh --seed "$SEED" "$@"
}

# measure NAME MODEL: answers on the test pictures, greedy and sampled, yes-no questions, scenes with something unseen,
# and what they are worth.
measure() {
  predict "$1-greedy" "$2" "$WORLD/prompts_$SPLIT.json" TEMPERATURE=0
  if has ppo; then
    predict "$1-sampled" "$2" "$WORLD/prompts_$SPLIT.json" TEMPERATURE=1
    predict "$1-pope" "$2" "$WORLD/pope_$SPLIT" TEMPERATURE=0 BENCH=pope
    predict "$1-unseen" "$2" "$WORLD/prompts_test_pairs.json $WORLD/prompts_test_places.json \
      $WORLD/prompts_test_objects.json" TEMPERATURE=0
  fi
  python -m demo.score --demo "$DEMO" --run "$1" --split "$SPLIT"
}

say "the demo world"
if [[ ! -f $WORLD/about.json ]]; then
  python -m demo.world --output "$WORLD" --art "$ART" --num_names "$NAMES" --picture_px "$PICTURE_PX" \
    --num_train "$SCENES" --num_val "$NUM_VAL" --num_test "$NUM_TEST" --num_new "$NUM_NEW" --seed "$SEED"
fi

say "a tiny LLaVA, whose language model learns to read scenes"
if [[ ! -f $DEMO/random/config.json ]]; then
  python -m demo.model --output "$DEMO/random" --texts "$WORLD" --picture_px "$PICTURE_PX" --resnet_width 16 \
    --hidden_size 144 --num_layers 3 --seed "$SEED"
fi
if [[ ! -f $DEMO/reading/config.json ]]; then
  python -m demo.language --model "$DEMO/random" --world "$WORLD" --output "$DEMO/reading" --num_steps "$LANGUAGE_STEPS" \
    --captions "$CAPTIONS" --dialogues "$DIALOGUES" --seed "$SEED"
fi

say "its tower and projector learn to say what they see in the same words"
if [[ ! -f $DEMO/tiny/config.json ]]; then
  python -m demo.tower --model "$DEMO/reading" --world "$WORLD" --output "$DEMO/tiny" --num_scenes "$TOWER_SCENES" \
    --seed "$SEED"
fi

say "supervised fine-tuning on captions that invent partners"
LEARNED=$WORLD/captions_train.json HELD_OUT=$WORLD/captions_val.json WEIGHTS=1
if has ppo; then # yes-no questions are measured too
  LEARNED+=" $WORLD/questions_train.json" HELD_OUT+=" $WORLD/questions_val.json" WEIGHTS="1 0.5"
fi
MODEL=$DEMO/tiny DATA=$LEARNED OUTPUT=$DEMO/sft BATCH=$BATCH_SIZE LR=1e-3 WARMUP=0.05 MAX_SEQ_LEN=256 bash run_sft.sh \
  --packing --max_steps "$SFT_STEPS" --data_weights $WEIGHTS --eval_data_path "$HELD_OUT" --eval_step 10000 \
  "${COMMON[@]}"
if has grpo; then
  predict sft-amber "$DEMO/sft" "$WORLD/amber_$SPLIT" TEMPERATURE=0 BENCH=amber
  predict sft-choice "$DEMO/sft" "$WORLD/choice_$SPLIT.json" TEMPERATURE=0
  predict sft-count "$DEMO/sft" "$WORLD/count_$SPLIT.json" TEMPERATURE=0
fi
measure sft "$DEMO/sft"

PREFERENCES=$WORLD/pairs_train.json
if has reward_model; then
  say "answers of that model, ranked by the truth, with edited captions: preference data"
  predict samples-train "$DEMO/sft" "$WORLD/prompts_train.json" TEMPERATURE=1 SAMPLES=6 --dataset_samples "$SAMPLED"
  PREFERENCES=$WORLD/preferences_train.json
  python -m demo.pairs --truth "$WORLD/truth_train.json" --predictions "$DEMO/answers/samples-train.jsonl" \
    --also "$WORLD/pairs_train.json" --output "$PREFERENCES"

  say "reward model"
  MODEL=$DEMO/sft DATA=$PREFERENCES OUTPUT=$DEMO/reward_model BATCH=$BATCH_SIZE LR=5e-4 MAX_SEQ_LEN=192 \
    bash run_rm_training.sh --packing --max_steps "$RM_STEPS" --eval_data_path "$WORLD/pairs_val.json" \
    --eval_step 10000 "${COMMON[@]}"
  predict "samples-$SPLIT" "$DEMO/sft" "$WORLD/prompts_$SPLIT.json" TEMPERATURE=1 SAMPLES=6
  python -m demo.pairs --truth "$WORLD/truth_$SPLIT.json" --predictions "$DEMO/answers/samples-$SPLIT.jsonl" \
    --also "$WORLD/pairs_$SPLIT.json" --output "$WORLD/preferences_$SPLIT.json"
  [[ -f $DEMO/scores/rewards-$SPLIT.jsonl ]] || python -m training.reward_model.score --batch_size 64 \
    --from_checkpoint "$DEMO/reward_model" --data_path "$WORLD/preferences_$SPLIT.json" \
    --output_path "$DEMO/scores/rewards-$SPLIT.jsonl" --health_path "$DEMO/health"

  say "best of 8 samples"
  predict best-of-8-best "$DEMO/sft" "$WORLD/prompts_$SPLIT.json" TEMPERATURE=1 SAMPLES=8 \
    REWARD_MODEL="$DEMO/reward_model"
  python -m demo.score --demo "$DEMO" --run best-of-8 --split "$SPLIT"
fi

say "DPO"
MODEL=$DEMO/sft DATA=$PREFERENCES OUTPUT=$DEMO/dpo BATCH=$BATCH_SIZE LR=2e-4 MAX_SEQ_LEN=192 bash run_dpo_training.sh \
  --loss_type sigmoid sft --packing --max_steps "$DPO_STEPS" --eval_data_path "$WORLD/pairs_val.json" \
  --eval_step 10000 "${COMMON[@]}"
measure dpo "$DEMO/dpo"

if has ppo; then
  say "PPO"
  MODEL=$DEMO/sft REWARD_MODEL=$DEMO/reward_model DATA=$WORLD/prompts_train.json OUTPUT=$DEMO/ppo BATCH=$PROMPTS \
    MINIBATCHES=2 PPO_EPOCHS=2 SAMPLES=4 MAX_RESPONSE_LEN=32 ACTOR_LR=2e-4 CRITIC_LR=5e-4 KL_COEF=0.02 \
    CRITIC_ONLY_STEPS=$CRITIC_STEPS MAX_STEPS=$PPO_STEPS bash run_ppo_training.sh "${COMMON[@]}"
  measure ppo "$DEMO/ppo"
fi
if has grpo; then
  say "GRPO on counting, with exact rewards"
  MODEL=$DEMO/sft DATA=$WORLD/count_train.json OUTPUT=$DEMO/grpo REWARDS=exact ESTIMATOR=grpo BATCH=$PROMPTS SAMPLES=8 \
    MINIBATCHES=2 PPO_EPOCHS=2 MAX_RESPONSE_LEN=6 ACTOR_LR=2e-4 KL_COEF=0.005 MAX_STEPS=$GRPO_STEPS \
    bash run_ppo_training.sh "${COMMON[@]}"
  predict grpo-count "$DEMO/grpo" "$WORLD/count_$SPLIT.json" TEMPERATURE=0
  python -m demo.score --demo "$DEMO" --run grpo --split "$SPLIT"
fi

say "report"
python -m demo.report --demo "$DEMO" --split "$SPLIT"
python -m eval.report --spec "$DEMO/report.json" --output "$DEMO/report.html"
say "done"
