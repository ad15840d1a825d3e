#!/usr/bin/env bash
# Every algorithm on the demo world, from the SFT model and the reward model of scripts/demo.sh: a table of
# hallucination rate, Cover, reward and KL over seeds, and a picture of reward against KL.
#
#   bash scripts/algorithms.sh              some hours a seed on two cores; a second run goes on
#   bash scripts/algorithms.sh grpo kto     only these
#
# Environment: SEEDS (default "0 1 2"), DEMO (start of the demo's output folders, default models/demo), SUFFIX (their end:
# -quick for those of scripts/seeds.sh --quick), DPO_STEPS (default 100), PPO_STEPS (default 50). A demo wants a reward
# model: STAGES="sft reward_model" has the quick one make it too.
# Nothing is tuned: the preference losses share the demo's DPO settings, a loss has the usual beta of its paper. Policy
# optimisers share the demo's PPO settings, but for what their papers set (docs/algorithms.md); those that say nothing of
# the KL's price have the demo's. ppo_shared is PPO with one backbone, whose adapters learn at ten times the rate.
set -euo pipefail
cd "$(dirname "$0")/.."

SEEDS=${SEEDS:-0 1 2}
DEMO=${DEMO:-models/demo}
SUFFIX=${SUFFIX:-}
DPO_STEPS=${DPO_STEPS:-100}
PPO_STEPS=${PPO_STEPS:-50}
source scripts/setup.sh
source scripts/once.sh

declare -A PREFERENCE=(
  [dpo]="sigmoid" [dpo_sft]="sigmoid sft" [cdpo]="sigmoid --label_smoothing 0.1"
  [robust]="robust --label_smoothing 0.1" [hinge]="hinge" [ipo]="ipo" [simpo]="simpo --beta 2 --simpo_gamma 1"
  [orpo]="orpo" [kto]="kto" [bco]="bco" [mpo]="sigmoid bco sft --loss_weights 0.8 0.2 1" [mdpo]="mdpo" [sft]="sft"
  [plackett_luce]="plackett_luce --ranked_candidate_num 0" [biased_ranking]="biased_ranking --ranked_candidate_num 0"
)
OPTIMISERS="ppo rloo reinforce_plus_plus reinforce_plus_plus_baseline grpo dr_grpo dapo gspo cispo sapo ppo_shared"
ALGORITHMS=${*:-${!PREFERENCE[*]} $OPTIMISERS}

# train NAME: into $RUN, from the demo of this seed.
train() {
  if [[ -n ${PREFERENCE[$1]:-} ]]; then
    MODEL=$FROM/sft DATA=$FROM/world/preferences_train.json OUTPUT=$RUN BATCH=64 ACCUMULATION=1 LR=2e-4 MAX_SEQ_LEN=192 \
      ZERO_STAGE=0 bash run_dpo_training.sh --packing --gradient_checkpointing false --max_steps "$DPO_STEPS" \
      --eval_data_path "$FROM/world/pairs_val.json" --eval_step 10000 --seed "$SEED" --loss_type ${PREFERENCE[$1]}
    return
  fi
  local price=
  case $1 in ppo* | rloo | reinforce_plus_plus*) price=0.02 ;; esac
  if [[ $1 == ppo_shared ]]; then
    local adapters=(--lang_lora_dim 32 --only_optimize_lora) judge=$FROM/algorithms/reward_adapter
    MODEL=$FROM/sft DATA=$FROM/world/preferences_train.json OUTPUT=$judge BATCH=64 ACCUMULATION=1 LR=2e-3 \
      MAX_SEQ_LEN=192 ZERO_STAGE=0 bash run_rm_training.sh --packing --gradient_checkpointing false --max_steps 200 \
      --eval_data_path "$FROM/world/pairs_val.json" --eval_step 10000 --seed "$SEED" "${adapters[@]}"
    REWARD_MODEL=$judge ACTOR_LR=2e-3 CRITIC_LR=5e-3 optimise ppo "$price" "${adapters[@]}" --share_backbone
  else
    REWARD_MODEL=$FROM/reward_model ACTOR_LR=2e-4 CRITIC_LR=5e-4 optimise "$1" "$price"
  fi
}

# optimise ALGORITHM PRICE FLAGS...: with the settings of the demo, and a nat of KL at that price, if it is not the paper's.
optimise() {
  MODEL=$FROM/sft DATA=$FROM/world/prompts_train.json OUTPUT=$RUN BATCH=32 ACCUMULATION=1 MINIBATCHES=2 PPO_EPOCHS=2 \
    SAMPLES=4 MAX_RESPONSE_LEN=32 KL_COEF=$2 CRITIC_ONLY_STEPS=5 ACTOR_ZERO_STAGE=0 CRITIC_ZERO_STAGE=0 \
    MAX_STEPS=$PPO_STEPS ALGORITHM=$1 bash run_ppo_training.sh --gradient_checkpointing false --seed "$SEED" "${@:3}"
}

# measure MODEL: greedy and sampled answers on the test pictures, what they are worth, and how far they are from SFT.
measure() {
  local prompts=$FROM/world/prompts_test.json answers
  [[ -f $RUN/greedy.jsonl ]] || MODEL=$1 DATA=$prompts OUTPUT=$RUN NAME=greedy.jsonl BATCH=64 MAX_RESPONSE_LEN=40 \
    bash run_predict.sh --seed "$SEED"
  [[ -f $RUN/drift.json ]] || python -m eval.drift --from_checkpoint "$1" --reference "$FROM/sft" \
    --reward_model_ckpt_path "$FROM/reward_model" --data_path "$prompts" --output_path "$RUN/drift.json" --batch_size 64 \
    --max_new_tokens 40 --seed "$SEED"
  for answers in greedy drift; do
    [[ -f $RUN/$answers-scores.json ]] || python -m eval.score --bench descriptions --truth "$FROM/world/truth_test.json" \
      --predictions "$RUN/$answers.jsonl" --output "$RUN/$answers-scores.json"
  done
}

for SEED in $SEEDS; do
  FROM=$DEMO-$SEED$SUFFIX
  [[ -d $FROM/reward_model ]] || { echo "error: $FROM: no demo; run scripts/seeds.sh first" >&2; exit 2; }
  same_settings "$FROM/algorithms" DPO_STEPS PPO_STEPS
  RUN=$FROM/algorithms/start && mkdir -p "$RUN" && measure "$FROM/sft"
  for name in $ALGORITHMS; do
    RUN=$FROM/algorithms/$name
    train "$name"
    measure "$RUN"
  done
done
python -m demo.algorithms --demos $(printf "$DEMO-%s$SUFFIX " $SEEDS) --output "$DEMO$SUFFIX-algorithms.md"
