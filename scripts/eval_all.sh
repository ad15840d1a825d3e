#!/usr/bin/env bash
# Answers and scores of a model on every benchmark whose files are there, ending with a table and a summary.
#
#   MODEL=models/dpo BENCH_DIR=benchmarks bash scripts/eval_all.sh
#   MODEL=models/dpo BENCH_DIR=benchmarks bash scripts/eval_all.sh --on_bad_record skip
#
# A benchmark is a folder of $BENCH_DIR by its name in eval/benches/table.py. It holds the official files in data/, the
# pictures in images/, and for CHAIR synonyms*.txt; eval/README.md says where each comes from. A second run goes on from
# what is there; no score of an earlier one stands in its table. Flags go to the prediction of every benchmark (and to
# the scoring of reward benchmarks); those of the scorers and of the judge have variables, for all benchmarks or with a
# benchmark's name for that one:
#
#   PREDICT_FLAGS_mmvp="--temperature 0.2" SCORE_FLAGS_amber="--nouns nltk --similarity spacy" bash scripts/eval_all.sh
#
# Environment:
#   MODEL          model folder, or the output folder of a stage
#   REWARD_MODEL   what the reward benchmarks score; without one they are left out
#   JUDGE_MODEL    who judges MMHal-Bench, LLaVA-Bench and RefoMB, at JUDGE_URL with the key JUDGE_API_KEY, by the
#                  official prompt or rules in judge/, the system message in judge/system.txt and RefoMB's second prompt
#                  in judge/trust.txt; without one they are left out
#   JUDGE_IMAGES   1: the judge sees the pictures, which costs tokens and is not official
#   JUDGE_TEMPERATURE, JUDGE_MAX_TOKENS   default: what the benchmark's official script has
#   JUDGE_CONCURRENCY, JUDGE_REQUESTS_PER_MINUTE   default: 8 at a time, no limit
#   JUDGE_FLAGS, JUDGE_FLAGS_NAME       more of eval.judge, "--judge_rename max_tokens=max_completion_tokens"
#   SCORE_FLAGS, SCORE_FLAGS_NAME       more of eval.score, e.g. --best
#   PREDICT_FLAGS_NAME                  more of eval.predict for one benchmark, e.g. "--num_beams 3"
#   PARSER         official or strict, for the benchmarks that have both; default: that of each
#   BENCH_DIR      default benchmarks
#   OUTPUT         answers and scores, default models/eval/NAME_OF_MODEL
#   BEAMS, MAX_RESPONSE_LEN, BATCH, ...   settings of run_predict.sh
set -euo pipefail
cd "$(dirname "$0")/.."

BENCH_DIR=${BENCH_DIR:-benchmarks}
: "${MODEL:?expected a model folder, MODEL=... bash scripts/eval_all.sh}"
if [[ ! -d $BENCH_DIR ]]; then
  echo "error: BENCH_DIR $BENCH_DIR: no such folder; expected a folder with a folder for each benchmark" >&2
  exit 1
fi
export OUTPUT=${OUTPUT:-models/eval/$(basename "$MODEL")}
JUDGE_URL=${JUDGE_URL:-http://localhost:8000/v1}
REWARD_BENCHES=" preferences vl_rewardbench multimodal_rewardbench "
JUDGED_BENCHES=" mmhal llava_bench refomb "
TWO_PARSERS=" pope repope popev2 dash_b crpe amber amber_discriminative science_qa mmhal llava_bench "
EARLIER=.earlier
FLAGS=("$@")
source scripts/setup.sh

flags_of() { # VARIABLE NAME: the flags for all benchmarks and for this one, parted by spaces
  local all=$1 one=$1_$2
  echo "${!all:-} ${!one:-}"
}

evaluate() { # NAME FOLDER
  local truth=$2/data images=$2/images answers=$OUTPUT/$1.jsonl options=()
  [[ -d $images ]] || images=$truth
  local synonyms=("$2"/synonyms*.txt) # nothing where there is none: nullglob
  (( ${#synonyms[@]} )) && options+=(--synonyms "${synonyms[0]}")
  [[ -n ${PARSER:-} && $TWO_PARSERS == *" $1 "* ]] && options+=(--parser "$PARSER")
  # shellcheck disable=SC2207  # flags are parted by spaces
  local flags=($(flags_of PREDICT_FLAGS "$1"))
  if [[ $REWARD_BENCHES == *" $1 "* ]]; then
    python -m training.reward_model.score --from_checkpoint "$REWARD_MODEL" --data_path "$(one_file "$truth")" \
      --image_folder "$images" --output_path "$answers" "${FLAGS[@]}" "${flags[@]}" || return 1
  else
    BENCH=$1 DATA=$truth IMAGES=$images NAME=$1.jsonl bash run_predict.sh "${FLAGS[@]}" "${flags[@]}" || return 1
  fi
  if [[ $JUDGED_BENCHES == *" $1 "* ]]; then
    judge "$1" "$2" "$images" "${options[@]}"
  else
    # shellcheck disable=SC2207
    options+=($(flags_of SCORE_FLAGS "$1"))
    python -m eval.score --bench "$1" --truth "$truth" --predictions "$answers" --output "$OUTPUT/$1.score.json" \
      "${options[@]}"
  fi
}

judge() { # NAME FOLDER IMAGES OPTIONS...
  local name=$1 folder=$2 settings=()
  [[ ${JUDGE_IMAGES:-} == 1 ]] && settings+=(--judge_images --image_folder "$3")
  shift 3
  [[ -n ${JUDGE_TEMPERATURE:-} ]] && settings+=(--judge_temperature "$JUDGE_TEMPERATURE")
  [[ -n ${JUDGE_MAX_TOKENS:-} ]] && settings+=(--judge_max_tokens "$JUDGE_MAX_TOKENS")
  [[ -f $folder/judge/system.txt ]] && settings+=(--judge_system "$(<"$folder/judge/system.txt")")
  [[ -f $folder/judge/trust.txt ]] && settings+=(--judge_trust_prompt "$folder/judge/trust.txt")
  # shellcheck disable=SC2207
  settings+=($(flags_of JUDGE_FLAGS "$name"))
  python -m eval.judge --bench "$name" --truth "$(one_file "$folder/data")" --predictions "$OUTPUT/$name.jsonl" \
    --judge endpoint --judge_url "$JUDGE_URL" --judge_model "$JUDGE_MODEL" \
    --judge_concurrency "${JUDGE_CONCURRENCY:-8}" \
    --judge_requests_per_minute "${JUDGE_REQUESTS_PER_MINUTE:-0}" \
    --judge_prompt "$(one_file "$folder/judge")" --output "$OUTPUT/$name.score.json" "$@" "${settings[@]}"
}

one_file() { # FOLDER: its one file, or the folder where it holds several of a data set
  local files
  mapfile -t files < <(find -L "$1" -maxdepth 1 -type f ! -name '.*' ! -iname 'readme*' ! -iname 'licen[cs]e*' \
    ! -name system.txt ! -name trust.txt)
  if (( ${#files[@]} == 1 )); then echo "${files[0]}"; else echo "$1"; fi
}

set_scores_aside() { # of an earlier run: what this one does not score has no figure, in whatever table is made of it
  local file
  for file in "$OUTPUT"/*.score.json; do mv -f "$file" "$file$EARLIER"; done
}

why() { # LOG: what a benchmark failed of
  grep -a '^error: ' "$1" | tail -n 1 | cut -c1-300 | grep . || tail -n 1 "$1" | tr '\r' '\n' | tail -n 1 | cut -c1-300
}

summary=()
failed=()
scored=0
mkdir -p "$OUTPUT"
shopt -s nullglob
set_scores_aside
for folder in "$BENCH_DIR"/*/; do
  name=$(basename "$folder")
  left_out=
  [[ -d $folder/data ]] || { name=$name/ left_out="holds no data/"; }
  [[ $REWARD_BENCHES == *" $name "* && -z ${REWARD_MODEL:-} ]] && left_out="needs REWARD_MODEL"
  [[ $JUDGED_BENCHES == *" $name "* && -z ${JUDGE_MODEL:-} ]] && left_out="needs JUDGE_MODEL"
  if [[ -n $left_out ]]; then
    echo "$name: $left_out; left out"
    summary+=("left out  $name: $left_out")
    continue
  fi
  printf '\n== %s\n' "$name"
  if evaluate "$name" "${folder%/}" 2>&1 | tee "$OUTPUT/$name.log"; then
    summary+=("scored    $name")
    rm -f "$OUTPUT/$name.score.json$EARLIER"
    scored=$(( scored + 1 ))
  else
    summary+=("failed    $name: $(why "$OUTPUT/$name.log")")
    failed+=("$name")
  fi
done

printf '\n'
if (( scored )); then
  python -m eval.report --runs "$(basename "$MODEL")=$OUTPUT" --output "$OUTPUT/report.html" || failed+=(report)
fi
printf '\n'
(( ${#summary[@]} )) || summary=("nothing   $BENCH_DIR holds no folder of a benchmark")
printf '%s\n' "${summary[@]}"
for file in "$OUTPUT"/*.score.json"$EARLIER"; do
  echo "not of this run, so not in the table: $file"
done
if (( ${#failed[@]} )); then
  echo "error: failed: ${failed[*]}" >&2
  exit 1
fi
if (( ! scored )); then
  echo "error: BENCH_DIR $BENCH_DIR: nothing was scored" >&2
  exit 1
fi
