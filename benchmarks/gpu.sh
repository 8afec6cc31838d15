#!/usr/bin/env bash
# The GPU benchmark in one go, from a checkout, with no network: carry the folder to the machine
# and run `benchmarks/gpu.sh`. Python needs numpy, opencv, click, tqdm and onnxruntime-gpu; torch
# and onnx, where they are installed, add the ceilings and PyTorch beside.
#
#   PROVIDER=cuda|tensorrt|cpu  PYTHON=python3  OUT=gpu.json  RUN=a training run's folder
#   benchmarks/gpu.sh [ARTIFACT...] [OPTION...]     default: the shipped models
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export PYTHONPATH="$root/runtime:$root/train:$root/export:$root/benchmarks${PYTHONPATH:+:$PYTHONPATH}"

named=no
for word in "$@"; do
  case "$word" in *.onnx | *.engine) named=yes ;; esac
done
if [ "$named" = no ]; then
  # The first is what onnxruntime runs beside PyTorch's standard, and what runs over the folder.
  for name in standard standard-int8 lite lite-int8 tiny tiny-int8; do
    set -- "$@" "$root/runtime/lgg_runtime/weights/$name.onnx"
  done
fi
run=${RUN-$root/train/shipped/standard}
options=(--provider "${PROVIDER:-cuda}" -o "${OUT:-gpu.json}")
if [ -n "$run" ] && "${PYTHON:-python3}" -c 'import torch' 2>/dev/null; then
  options+=(--run "$run")
fi
exec "${PYTHON:-python3}" -m lgg_bench.cli gpu "$@" "${options[@]}"
