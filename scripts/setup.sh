# Sourced by the scripts: an environment with everything the project needs. Safe to run twice.
#
# An active virtual environment is used; else `.venv` is made. Where there is no torch yet, the tested set of
# constraints.txt is installed, in which torch is the CPU build if the machine has no GPU.

if [[ -z ${VIRTUAL_ENV:-} ]]; then
  [[ -d .venv ]] || { echo "making a virtual environment in .venv"; python3 -m venv .venv; }
  source .venv/bin/activate
fi
STAMP=$VIRTUAL_ENV/.vision-llm-alignment-$(cat requirements.txt constraints.txt | sha256sum | cut -c1-16)
if [[ ! -f $STAMP ]]; then
  echo "installing requirements.txt (two to three minutes the first time)"
  if python -c "import torch" 2>/dev/null; then
    pip install --quiet -r requirements.txt
  else
    TORCH=$(grep '^torch==' constraints.txt)
    pip install --quiet "$TORCH" -r requirements.txt -c constraints.txt
  fi
  touch "$STAMP"
fi
