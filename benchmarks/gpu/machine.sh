#!/bin/bash
# Run on the GPU machine, from the repository: settles it there, starts trainings, brings back what they made.
#   bash benchmarks/gpu/machine.sh settle gpu_data/1.tar.xz ...   unpack; the first time, copy the repository too
#   bash benchmarks/gpu/machine.sh smoke                           every path once, briefly, with times
#   bash benchmarks/gpu/machine.sh train cupre-9 9-cupre.yaml [more settings]   in the background
#   bash benchmarks/gpu/machine.sh look                            how far they are, what the machine does
#   bash benchmarks/gpu/machine.sh collect cupre-9 cells-10 ...    models and logs into $OUT
# ROOT is where it all lies there, so that a dry run can be elsewhere.
set -eo pipefail
ROOT=${ROOT:-/tmp}
HERE=$PWD
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} CUPRE_DATA=$ROOT/shared/data
export PYTHONPATH=$ROOT/repo/src:$ROOT/repo/benchmarks:$ROOT/repo/benchmarks/gpu/shim:$ROOT/site
PYTHON=${PYTHON:-python3}

settle() {
  mkdir -p "$ROOT/shared/data" "$ROOT/repo/runs/sources" "$ROOT/site"
  if [ ! -d "$ROOT/repo/src" ]; then
    cp -r src benchmarks pyproject.toml "$ROOT/repo/"
    if ls .whl/*.whl >/dev/null 2>&1; then
      $PYTHON -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$ROOT/site" .whl/*.whl
    fi
  fi
  for archive in "$@"; do
    case $archive in
      *sources*) tar -xf "$archive" -C "$ROOT/repo/runs/sources" ;;
      *weights*) tar -xf "$archive" -C "$ROOT/repo/src/napari_cupre/weights" ;;
      *) tar -xf "$archive" -C "$ROOT/shared/data" ;;
    esac
  done
}

train() {
  local run=$1 settings=$2
  shift 2
  cd "$ROOT/repo"
  setsid nohup nice -n "${NICE:-0}" $PYTHON -m napari_cupre.cli.pretrain --out "runs/$run" \
    --config "benchmarks/bundled/$settings" "$@" >"runs/$run.log" 2>&1 </dev/null &
  cd "$HERE"
}

smoke() {
  cd "$ROOT/repo"
  local common=(--device "${DEVICE:-cuda}" --set validate_every=0 --set checkpoint_minutes=60 --set log_every=5)
  timeout 100 $PYTHON -m napari_cupre.cli.pretrain --out "$ROOT/smoke-supervised" --config benchmarks/bundled/11-nuclei.yaml --init cupre \
    "${common[@]}" --set iterations="${STEPS:-40}" --workers 8 || echo "supervised: FAILED"
  timeout 100 $PYTHON -m napari_cupre.cli.pretrain --out "$ROOT/smoke-amt2" --preset compact --init cupre --synthetic 1 \
    --unlabelled "$CUPRE_DATA/bbbc038/images" "${common[@]}" --set batch=16 --set cosine_every=5 --set iterations="${STEPS:-40}" \
    --workers 6 || echo "AMT2: FAILED"
  tail -n 3 "$ROOT"/smoke-*/metrics.csv
  timeout 100 $PYTHON benchmarks/gpu/timings.py --device "${DEVICE:-cuda}" || echo "timings: FAILED"
}

look() {
  nvidia-smi --query-gpu=name,utilization.gpu,memory.used --format=csv,noheader 2>/dev/null || true
  uptime
  for run in "$ROOT"/repo/runs/*/; do
    [ -f "$run/metrics.csv" ] || continue
    echo "$run $(wc -l <"$run/metrics.csv") rows"
    head -n 1 "$run/metrics.csv"
    tail -n 2 "$run/metrics.csv"
  done
  tail -n 3 "$ROOT"/repo/runs/*.log "$ROOT"/*.log 2>/dev/null || true
}

collect() {
  for run in "$@"; do
    local folder=$ROOT/repo/runs/$run
    cp "$folder/metrics.csv" "$OUT/$run.csv"
    cp "$folder/model.safetensors" "$OUT/$run.safetensors"
  done
}

"$@"
