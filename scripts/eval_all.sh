#!/usr/bin/env bash
# Answers and scores of a model on every benchmark whose files are there, ending with a table.
#
#   MODEL=models/dpo BENCH_DIR=benchmarks bash scripts/eval_all.sh
#
# A benchmark is a folder of $BENCH_DIR by its name in eval/benches/table.py. It holds the official files in data/, the
# pictures in images/, and for CHAIR synonyms.txt; eval/README.md says where each comes from. A second run goes on from
# what is there.
#
# Environment:
#   MODEL          model folder, or the output folder of a stage
#   REWARD_MODEL   what the reward benchmarks score; without one they are left out
#   JUDGE_MODEL    who judges MMHal-Bench and LLaVA-Bench, at JUDGE_URL with the key JUDGE_API_KEY, by the official
#                  prompt or rules in judge/; without one they are left out
#   BENCH_DIR      default benchmarks
#   OUTPUT         answers and scores, default models/eval/NAME_OF_MODEL
#   BEAMS, MAX_RESPONSE_LEN, BATCH, ...   settings of run_predict.sh
set -euo pipefail
cd "$(dirname "$0")/.."

BENCH_DIR=${BENCH_DIR:-benchmarks}
: "${MODEL:?expected a model folder, MODEL=... bash scripts/eval_all.sh}"
export OUTPUT=${OUTPUT:-models/eval/$(basename "$MODEL")}
JUDGE_URL=${JUDGE_URL:-http://localhost:8000/v1}
REWARD_BENCHES=" preferences vl_rewardbench multimodal_rewardbench "
JUDGED_BENCHES=" mmhal llava_bench "
source scripts/setup.sh

evaluate() { # NAME FOLDER
  local truth=$2/data images=$2/images answers=$OUTPUT/$1.jsonl options=()
  [[ -d $images ]] || images=$truth
  [[ -f $2/synonyms.txt ]] && options+=(--synonyms "$2/synonyms.txt")
  if [[ $REWARD_BENCHES == *" $1 "* ]]; then
    python -m training.reward_model.score --from_checkpoint "$REWARD_MODEL" --data_path "$(one_file "$truth")" \
      --image_folder "$images" --output_path "$answers" || return 1
  else
    BENCH=$1 DATA=$truth IMAGES=$images NAME=$1.jsonl bash run_predict.sh || return 1
  fi
  if [[ $JUDGED_BENCHES == *" $1 "* ]]; then
    python -m eval.judge --bench "$1" --truth "$(one_file "$truth")" --predictions "$answers" --judge endpoint \
      --judge_url "$JUDGE_URL" --judge_model "$JUDGE_MODEL" --judge_prompt "$(one_file "$2/judge")" \
      --output "$OUTPUT/$1.score.json"
    return
  fi
  python -m eval.score --bench "$1" --truth "$truth" --predictions "$answers" --output "$OUTPUT/$1.score.json" \
    "${options[@]}"
}

one_file() { # FOLDER: its one file, or the folder where it holds several of a data set
  local files
  mapfile -t files < <(find -L "$1" -maxdepth 1 -type f)
  if (( ${#files[@]} == 1 )); then echo "${files[0]}"; else echo "$1"; fi
}

failed=()
for folder in "$BENCH_DIR"/*/; do
  [[ -d $folder/data ]] || { echo "$folder: holds no data/; left out"; continue; }
  name=$(basename "$folder")
  if [[ $REWARD_BENCHES == *" $name "* && -z ${REWARD_MODEL:-} ]]; then
    echo "$name: needs REWARD_MODEL; left out"
    continue
  fi
  if [[ $JUDGED_BENCHES == *" $name "* && -z ${JUDGE_MODEL:-} ]]; then
    echo "$name: needs JUDGE_MODEL; left out"
    continue
  fi
  printf '\n== %s\n' "$name"
  evaluate "$name" "${folder%/}" || failed+=("$name")
done

printf '\n'
python -m eval.report --runs "$(basename "$MODEL")=$OUTPUT" --output "$OUTPUT/report.html"
if (( ${#failed[@]} )); then
  echo "error: failed: ${failed[*]}" >&2
  exit 1
fi
