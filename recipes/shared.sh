# Sourced by the recipes. SIZE=full takes what the recipe names; SIZE=tiny a tiny model and a generated world of plain
# shapes, a few steps of a few records: it shows that the same commands run, and its figures say nothing.
#
# Environment: SIZE (default full), OUT (output folder, default models/recipes/NAME), SEED (default 0).

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source scripts/setup.sh
source scripts/once.sh
NAME=$(basename "$0" .sh)
SIZE=${SIZE:-full}
OUT=${OUT:-models/recipes/$SIZE/$NAME}
export SEED=${SEED:-0}
[[ $SIZE == full || $SIZE == tiny ]] || { echo "error: SIZE=$SIZE: unknown; expected full or tiny" >&2; exit 2; }

say() { printf '\n== %s: %s\n' "$NAME" "$1"; }

FEW=() PAD=(--image_aspect_ratio pad) # pictures as LLaVA-1.5 was trained on them; the tiny model's are square

# tiny_world: the world into $WORLD, and a model that has read it into $BASE, once for all recipes. Their settings are
# small ones from here on, and FEW are flags of whatever trains.
tiny_world() {
  PAD=() WORLD=$(dirname "$OUT")/world BASE=$(dirname "$OUT")/base
  export BATCH=4 ACCUMULATION=1 MAX_SEQ_LEN=256 ZERO_STAGE=0 ACTOR_ZERO_STAGE=0 CRITIC_ZERO_STAGE=0
  export MAX_RESPONSE_LEN=32 SAMPLE_BATCH=24 EPOCHS=1 MAX_STEPS=2 NUM_PROCESSES=1
  export SAMPLE_FLAGS=--keep_cut  # it is too small to end all its answers
  FEW=(--gradient_checkpointing false --max_steps 2)
  [[ -f $WORLD/synonyms.txt ]] || python -m data.tiny_world --output "$WORLD"
  MODEL=$(source scripts/launch.sh && tiny_model) DATA=$WORLD/sft.json OUTPUT=$BASE LR=2e-3 BATCH=16 \
    bash run_sft.sh --gradient_checkpointing false --data_train_split_ratio 1 --max_steps 24
}

# answers NAME MODEL VARIABLE=VALUE... FLAGS...: of a model to DATA, into $OUT/answers/NAME.jsonl.
answers() {
  local name=$1 model=$2 settings=(); shift 2
  while [[ ${1:-} == *=* ]]; do settings+=("$1"); shift; done
  env MODEL="$model" OUTPUT="$OUT/answers" NAME="$name.jsonl" REWARD_MODEL= "${settings[@]}" bash run_predict.sh "$@"
}

# score NAME BENCH TRUTH FLAGS...: what those answers are worth, into $OUT/scores/NAME.json.
score() {
  local name=$1 bench=$2 truth=$3; shift 3
  python -m eval.score --bench "$bench" --truth "$truth" --predictions "$OUT/answers/$name.jsonl" \
    --output "$OUT/scores/$name.json" "$@"
}

# on_coco BENCH NAME MODEL FLAGS...: a model's answers about the pictures of COCO, and what they are worth.
on_coco() {
  local bench=$1 name=$2 model=$3; shift 3
  answers "$name" "$model" BENCH="$bench" DATA="${COCO:?what to measure on}" IMAGES="${COCO_IMAGES:?pictures}" "$@"
  score "$name" "$bench" "$COCO" --synonyms "${SYNONYMS:?CHAIR}"
}

# expected SOURCE ROW...: the table at the end. A row is NAME=PUBLISHED=FILE:FIGURE.
expected() {
  local source=$1; shift
  say "expected and yours"
  python -m eval.expected --source "$source" --output "$OUT/expected.md" --rows "$@"
  [[ $SIZE == full ]] || echo "SIZE=tiny: the figures show that all has run, and nothing else"
}
