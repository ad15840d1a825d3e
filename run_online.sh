#!/usr/bin/env bash
# Rounds of alignment on the model's own answers: sample, score, pair, train; the next round starts from the new model
# (iterative DPO, arXiv 2312.11456, 2405.17220; with TRAIN=sft rejection sampling, arXiv 2304.06767). Started again, it
# goes on in the phase where it was. Settings can be given from outside:
#
#   MODEL=models/sft REWARD_MODEL=models/reward_model DATA=prompts.json OUTPUT=models/online bash run_online.sh
#
# Arguments go to what trains, as do the settings of its script (LR, BATCH, EPOCHS, BETA, ...). docs/online.md.
set -euo pipefail
cd "$(dirname "$0")"
source scripts/launch.sh

MODEL=${MODEL:-$(tiny_model)}                # model folder, or the output folder of SFT: where the first round starts
DATA=${DATA:-data/samples/ppo.json}          # prompts: files or folders with spaces between, see data/README.md
IMAGES=${IMAGES:-}                           # folder that image paths start from; none: that of the data
OUTPUT=${OUTPUT:-models/online}              # output folder; the last model is OUTPUT/round-ROUNDS/model
ROUNDS=${ROUNDS:-4}                          # rounds
PROMPTS=${PROMPTS:-parts}                    # parts: each round has its own part of the prompts; all: each has all
SAMPLES=${SAMPLES:-8}                        # answers to each prompt
TEMPERATURE=${TEMPERATURE:-1}                # of sampling
MAX_RESPONSE_LEN=${MAX_RESPONSE_LEN:-512}    # tokens of an answer; those that are cut off are not learned from
SAMPLE_BATCH=${SAMPLE_BATCH:-8}              # prompts that are answered, and scored, at a time on each device
SAMPLE_FLAGS=${SAMPLE_FLAGS:-}               # more flags of eval/predict.py: --topp 0.9, --keep_cut
REWARD_MODEL=${REWARD_MODEL:-}               # output folders of run_rm_training.sh that score, with spaces between
REWARDS=${REWARDS:-}                         # all rewards by name instead, "exact length:0.1", see docs/rewards.md
REWARD_FLAGS=${REWARD_FLAGS:-}               # more flags of training/online/score.py: --reward_functions my_rewards:f
TRAIN=${TRAIN:-dpo}                          # dpo: any loss of run_dpo_training.sh; sft: imitate the best answer
PICK=${PICK:-}                               # best_worst, pairs, ranked, best; default: best_worst, with sft best
PAIR_FLAGS=${PAIR_FLAGS:-}                   # more flags of training/online/pair.py: --margin 1 --balance_lengths
REFERENCE=${REFERENCE:-previous}             # of preference losses: previous, the model a round starts from; or start
EVAL=${EVAL:-}                               # prompts to measure each round on; none: no curve but of the rounds' own
BENCH=${BENCH:-}                             # how eval/score.py scores the answers to them, where the truth is known
TRUTH=${TRUTH:-}                             # its files
BENCH_FLAGS=${BENCH_FLAGS:-}                 # more flags of eval/score.py, as CHAIR's --synonyms
TEMPLATE=${TEMPLATE:-auto}                   # prompt template, see training/utils/data/DST.py
MAX_SEQ_LEN=${MAX_SEQ_LEN:-2048}             # tokens, image tokens included
MODEL_FLAGS=${MODEL_FLAGS:-}                 # flags of the model in all phases: --image_aspect_ratio pad
SEED=${SEED:-1234}                           # of every random choice

export TEMPLATE MAX_SEQ_LEN MAX_RESPONSE_LEN
[[ -n $PICK ]] || PICK=$([[ $TRAIN == sft ]] && echo best || echo best_worst)
shared=(--template "$TEMPLATE" --max_seq_len "$MAX_SEQ_LEN" --seed "$SEED" $MODEL_FLAGS)
rewards=(${REWARD_MODEL:+--reward_model_ckpt_path $REWARD_MODEL} ${REWARDS:+--rewards $REWARDS} $REWARD_FLAGS)
export CANDIDATE_NUM=${CANDIDATE_NUM:-0} # all answers of a record: they were picked

# phase VARIABLE=VALUE... COMMAND...: a command that is stopped when this script is.
phase() {
  env "$@" &
  pass_signals $!
}

quoted() { (( $# == 0 )) || printf '%q ' "$@"; }

# sample MODEL: its answers to the prompts of this round, also as records.
sample() {
  local part=() seed=$SEED
  if [[ $PROMPTS == parts ]]; then part=(--part "$round/$ROUNDS"); else seed=$(( SEED + round )); fi
  phase MODEL="$1" DATA="$DATA" IMAGES="$IMAGES" OUTPUT="$folder" NAME=answers.jsonl BATCH="$SAMPLE_BATCH" \
    SAMPLES="$SAMPLES" TEMPERATURE="$TEMPERATURE" REWARD_MODEL= BENCH= bash run_predict.sh \
    --data_output "$folder/samples.jsonl" "${part[@]}" --seed "$seed" $MODEL_FLAGS $SAMPLE_FLAGS
}

# score: what each answer is worth, as a whole: it lies beyond a prompt of MAX_SEQ_LEN, and read again it may have more
# tokens than it was sampled with.
score() {
  OUTPUT=$folder launch training.online.score --from_checkpoint "$MODEL" --data_path "$folder/samples.jsonl" \
    --output_path "$folder/scores.jsonl" --batch_size "$SAMPLE_BATCH" --answer_room "$(( 2 * MAX_RESPONSE_LEN ))" \
    "${rewards[@]}" "${shared[@]}"
}

# pair: which answers are learned from.
pair() {
  python -m training.online.pair --samples "$folder/samples.jsonl" --scores "$folder/scores.jsonl" \
    --output "$folder/train.jsonl" --pick "$PICK" --seed "$SEED" $PAIR_FLAGS
}

# train MODEL FLAGS...: from the model that has sampled.
train() {
  local model=$1 script=run_sft.sh more=(); shift
  if [[ $TRAIN == dpo ]]; then
    script=run_dpo_training.sh
    [[ $REFERENCE == start ]] && more=(--reference "$MODEL")
  fi
  phase MODEL="$model" DATA="$folder/train.jsonl" IMAGES= OUTPUT="$folder/model" REWARDS= \
    bash "$script" --seed "$SEED" $MODEL_FLAGS "${more[@]}" "$@"
}

# measure MODEL FOLDER: KL to the start, reward and length of its answers to EVAL, and what the truth says of them.
measure() {
  [[ -n $EVAL ]] || return 0
  OUTPUT=$2 launch eval.drift --from_checkpoint "$1" --reference "$MODEL" --data_path "$EVAL" \
    --image_folder "$IMAGES" --output_path "$2/drift.json" --batch_size "$SAMPLE_BATCH" \
    --max_new_tokens "$MAX_RESPONSE_LEN" "${rewards[@]}" "${shared[@]}"
  [[ -z $BENCH ]] || python -m eval.score --bench "$BENCH" --truth $TRUTH --predictions "$2/drift.jsonl" \
    --output "$2/truth.json" $BENCH_FLAGS
}

python -m training.online.ready --stage "$TRAIN" --model "$MODEL" --data "$DATA" --images "$IMAGES" --output "$OUTPUT" \
  --rounds "$ROUNDS" --prompts "$PROMPTS" --samples "$SAMPLES" --reference "$REFERENCE" --seed "$SEED" \
  --eval "$EVAL" --bench_flags " ${BENCH:+--bench $BENCH} ${TRUTH:+--truth $TRUTH} $BENCH_FLAGS" \
  --flags " $MODEL_FLAGS $(quoted "$@")" --sample_flags " $MODEL_FLAGS $SAMPLE_FLAGS" \
  --score_flags " $MODEL_FLAGS $(quoted "${rewards[@]}")" \
  --pair_flags " --pick $PICK $PAIR_FLAGS"

measure "$MODEL" "$OUTPUT/start"
policy=$MODEL
for (( round = 1; round <= ROUNDS; round++ )); do
  echo "== round $round of $ROUNDS"
  folder=$OUTPUT/round-$round
  sample "$policy"
  score
  pair
  train "$policy" "$@"
  policy=$folder/model
  measure "$policy" "$policy"
  python -m eval.rounds --folder "$OUTPUT" --rounds "$round"
done
