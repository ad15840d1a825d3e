# Sourced by scripts that go on from what is there.
#
# once FILE COMMAND...: makes FILE by the command, unless the same command has made it. The command lies beside it in
# FILE.made_by, a word on each line; a word that names a file (also behind NAME=) stands there by what it holds. What
# another command has made, or the same from other files, is refused.
#
# same_settings FOLDER NAME...: the variables of those names, for all that the script makes there. They lie in
# FOLDER/settings.txt, and a second run with other values is refused. A folder without them gets them.

once() {
  local made=$1 words before; shift
  words=$(words_of "$made" "$@")
  before=$(cat "$made.made_by" 2>/dev/null || true)
  if [[ -n $before && -e $made ]]; then
    [[ $words == "$before" ]] && return
    echo "error: $made: was made with [$(only_in "$before" "$words")], and this run asks for" \
      "[$(only_in "$words" "$before")]; choose another output folder, or remove it to make it anew" >&2
    exit 2
  fi
  mkdir -p "$(dirname "$made")"
  rm -f "$made.made_by"
  "$@"
  printf '%s\n' "$words" >"$made.made_by"
}

same_settings() {
  local folder=$1 name before now; shift
  now=$(for name in "$@"; do printf '%s\n' "$name=${!name}"; done)
  if [[ -f $folder/settings.txt ]]; then
    before=$(<"$folder/settings.txt")
    [[ $now == "$before" ]] && return
    echo "error: $folder: was begun with [$(only_in "$before" "$now")], and this run asks for" \
      "[$(only_in "$now" "$before")]; give the same, or choose another output folder" >&2
    exit 2
  fi
  mkdir -p "$folder"
  printf '%s\n' "$now" >"$folder/settings.txt"
}

# words_of FILE WORD...: the command as it is compared.
words_of() {
  local made=$1 word path name; shift
  for word in "$@"; do
    path=$word name=
    [[ $word == *=* && ! -f $word ]] && path=${word#*=} name=${word%%=*}=
    if [[ $path == "$made" ]]; then
      word=$name"(itself)"
    elif [[ -f $path ]]; then
      word="$name$(basename "$path") $(sha256sum <"$path" | cut -c1-12)"
    fi
    printf '%s\n' "${word//$'\n'/ }"
  done
}

# only_in LINES OTHERS: lines of the first that the second has not at their place, a value with its flag.
only_in() {
  local -a mine others; local place shown="" last=-1
  mapfile -t mine <<<"$1"
  mapfile -t others <<<"$2"
  for place in "${!mine[@]}"; do
    [[ ${mine[place]} != "${others[place]:-}" ]] || continue
    if (( place > 0 && last < place - 1 )) && [[ ${mine[place - 1]} == --* ]]; then shown+="${mine[place - 1]} "; fi
    shown+="${mine[place]} " last=$place
  done
  shown=${shown% }
  echo "${shown:-nothing more}"
}
