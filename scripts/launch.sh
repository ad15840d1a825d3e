# Shared by the run scripts: `launch MODULE FLAGS...` starts a stage on all GPUs, or on the CPU where there is none.
#
# Environment:
#   NUM_PROCESSES   processes on this machine; default: one for each GPU, or one
#   HOSTFILE        several nodes: lines of "host slots=GPUS"; they are reached by ssh from here
#   NODE_RANK       without ssh: the script is started on every node, with the number of its line in HOSTFILE, from 0 on
#   MASTER_ADDR     then the address of the first node; default: its name in HOSTFILE
#   MASTER_PORT     port that the processes meet at

# The project's own environment (scripts/setup.sh), where none is active and `python` has not what is needed.
if [[ -z ${VIRTUAL_ENV:-} && -f .venv/bin/activate ]] &&
  ! python -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("deepspeed"))' 2>/dev/null; then
  source .venv/bin/activate
fi
if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  GPUS=$(nvidia-smi -L | wc -l)
else
  GPUS=0
  export DS_ACCELERATOR=cpu
fi
NUM_PROCESSES=${NUM_PROCESSES:-$(( GPUS > 0 ? GPUS : 1 ))}
NUM_NODES_PROCESSES=$NUM_PROCESSES
if [[ -n ${HOSTFILE:-} ]]; then
  NUM_NODES_PROCESSES=$(awk -F 'slots=' '/slots=/ { n += $2 } END { print n }' "$HOSTFILE")
fi
if (( GPUS == 0 )); then
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( ($(nproc) + NUM_PROCESSES - 1) / NUM_PROCESSES ))}
fi

# The model of a first look, where none is named: tiny, with random weights.
tiny_model() {
  local folder=models/tiny-llava
  [[ -f $folder/config.json ]] || python -m demo.model --output $folder --texts data/samples >&2
  echo $folder
}

# say_batch PER_DEVICE ACCUMULATION
say_batch() {
  echo "global batch: $1 per device x $2 accumulated x $NUM_NODES_PROCESSES process(es)" \
    "= $(( $1 * $2 * NUM_NODES_PROCESSES ))"
}

# launch_training MODULE FLAGS...: a stage, with what all that train take from the settings of their scripts.
launch_training() {
  launch "$1" \
    --from_checkpoint "$MODEL" \
    --template "$TEMPLATE" \
    --data_path "$DATA" \
    --image_folder "$IMAGES" \
    --output_dir "$OUTPUT" \
    --resume auto \
    --lang_decoder_update \
    --num_train_epochs "$EPOCHS" \
    --per_device_train_batch_size "$BATCH" \
    --gradient_accumulation_steps "$ACCUMULATION" \
    --num_warmup_steps "$WARMUP" \
    --max_seq_len "$MAX_SEQ_LEN" \
    --gradient_checkpointing \
    "${@:2}"
}

# launch MODULE FLAGS...: runs it, with its output shown and kept in $OUTPUT/training.log beside the script.
launch() {
  local port=${MASTER_PORT:-$(( 20000 + RANDOM % 20000 ))}
  local start=(python -m training.utils.process.deepspeed_launcher --num_gpus "$NUM_PROCESSES" --master_port "$port" --module)
  if [[ -n ${HOSTFILE:-} && -n ${NODE_RANK:-} ]]; then
    start=(python -m training.utils.process.deepspeed_launcher --hostfile "$HOSTFILE" --no_ssh --node_rank "$NODE_RANK"
      --master_addr "${MASTER_ADDR:-$(awk '/slots=/ { print $1; exit }' "$HOSTFILE")}"
      --master_port "${MASTER_PORT:-29500}" --module)
  elif [[ -n ${HOSTFILE:-} ]]; then
    start=(deepspeed --hostfile "$HOSTFILE" --master_port "${MASTER_PORT:-29500}" --module)
  elif (( NUM_PROCESSES == 1 )); then
    start=(python -m) # the launcher takes seconds to start, and has nothing to launch
  fi
  mkdir -p "$OUTPUT"
  cp "$0" "$OUTPUT/"
  # In the background, so that a signal to this script is passed on at once. The training saves and ends with status
  # 85; its last words need a tee that outlives the signal.
  "${start[@]}" "$@" > >(trap '' TERM INT HUP USR1; exec tee -a "$OUTPUT/training.log") 2>&1 &
  pass_signals $!
}

# pass_signals PROCESS: waits for a process in the background, and passes on what asks this script to stop. Its status.
pass_signals() {
  local process=$1 status=0
  trap 'kill -TERM "$process" 2>/dev/null || true' TERM INT HUP USR1
  while kill -0 "$process" 2>/dev/null; do
    status=0
    wait "$process" || status=$?
  done
  trap - TERM INT HUP USR1
  return "$status"
}
