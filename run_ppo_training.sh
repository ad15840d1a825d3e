#!/usr/bin/env bash
# PPO, GRPO and kin against a reward model. Settings can be given from outside:
# MODEL=... REWARD_MODEL=... bash run_ppo_training.sh
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # model folder, or the output folder of SFT
REWARD_MODEL=${REWARD_MODEL-models/reward_model}   # output folders of run_rm_training.sh; empty: other rewards
REWARDS=${REWARDS:-}                         # all rewards by name instead, "exact length:0.1", see docs/rewards.md
DATA=${DATA:-data/samples/ppo.json}          # prompts: files or folders with spaces between, see data/README.md
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/ppo}                 # output folder
TEMPLATE=${TEMPLATE:-auto}                   # prompt template, see training/utils/data/DST.py
EPOCHS=${EPOCHS:-1}                          # passes over the prompts
MAX_STEPS=${MAX_STEPS:-500}                  # PPO steps at most
BATCH=${BATCH:-2}                            # prompts of a micro-batch on each device
ACCUMULATION=${ACCUMULATION:-2}              # micro-batches of an update
MINIBATCHES=${MINIBATCHES:-1}                # updates in one pass over the responses of a step
PPO_EPOCHS=${PPO_EPOCHS:-2}                  # passes over the responses of a step
SAMPLES=${SAMPLES:-1}                        # responses of a prompt
ENGINE=${ENGINE:-own}                        # what samples them: own, or vllm (docs/vllm.md)
MAX_RESPONSE_LEN=${MAX_RESPONSE_LEN:-512}    # tokens of a sampled response
ACTOR_LR=${ACTOR_LR:-${LR:-1e-6}}            # peak learning rate of the policy; as LR in the other scripts
CRITIC_LR=${CRITIC_LR:-2e-5}                 # peak learning rate of the critic
ALGORITHM=${ALGORITHM:-}                     # dapo, gspo, ...: sets the flags of its paper, see docs/algorithms.md
ESTIMATOR=${ESTIMATOR:-}                     # of advantages: gae (PPO, the default), rloo, grpo, reinforce_plus_plus, ...
KL_COEF=${KL_COEF:-}                         # what a nat of KL costs; 0.1, if no algorithm says another
CRITIC_ONLY_STEPS=${CRITIC_ONLY_STEPS:-0.1}  # first steps in which a critic learns alone: a share of all, or from 1 on a number
WARMUP=${WARMUP:-0.1}                        # share of all updates
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
ACTOR_ZERO_STAGE=${ACTOR_ZERO_STAGE:-2}      # DeepSpeed ZeRO of policy and reference, 0 to 3
CRITIC_ZERO_STAGE=${CRITIC_ZERO_STAGE:-3}    # DeepSpeed ZeRO of critic and reward model, 0 to 3

say_batch "$BATCH" "$(( ACCUMULATION * MINIBATCHES ))"
read -ra NAMED <<<"${REWARDS:-$REWARD_MODEL}"
flag=--reward_model_ckpt_path
[[ -z $REWARDS ]] || flag=--rewards
launch_training training.ppo.train_ppo \
  ${NAMED:+"$flag" "${NAMED[@]}"} \
  --max_training_step "$MAX_STEPS" \
  --num_minibatches "$MINIBATCHES" \
  --ppo_epochs "$PPO_EPOCHS" \
  --num_generations "$SAMPLES" \
  --rollout_engine "$ENGINE" \
  --max_generation_length_of_sampling "$MAX_RESPONSE_LEN" \
  --actor_learning_rate "$ACTOR_LR" \
  --critic_learning_rate "$CRITIC_LR" \
  ${ALGORITHM:+--algorithm "$ALGORITHM"} \
  ${ESTIMATOR:+--advantage_estimator "$ESTIMATOR"} \
  ${KL_COEF:+--kl_coef "$KL_COEF"} \
  --skip_actor_model "$CRITIC_ONLY_STEPS" \
  --actor_zero_stage "$ACTOR_ZERO_STAGE" \
  --critic_zero_stage "$CRITIC_ZERO_STAGE" \
  "$@"
