#!/bin/bash
# Starts, then the proof as soon as they are there, in one call, so that no wait between two calls can lose the machine:
#   INIT=/tmp/lite0_source.safetensors TIMES=2 STEPS=60 bash benchmarks/gpu/chain.sh
# MoCo needs longer than the others: it has a proof of its own, $ROOT/proof_moco.csv, with the same cases.
set -e
SELF=$(realpath "$0")
. benchmarks/gpu/environment.sh
wait_for() { for _ in $(seq 900); do ls "$@" >/dev/null 2>&1 && return; sleep 1; done; }
chain() {
  wait_for "$STARTS"/{supervised,cupre}.safetensors $(for kind in $KINDS; do echo "$STARTS/target/$kind.safetensors"; done)
  SHOTS=${SHOTS:-0 1 5} PROCESSES=${PROCESSES:-13} bash benchmarks/gpu/proof.sh
  wait_for "$STARTS/moco.safetensors"
  $PYTHON benchmarks/proof.py --device "${DEVICE:-cuda}" --processes "${MOCO_PROCESSES:-4}" --steps "${STEPS:-60}" --kinds $KINDS --shots ${SHOTS:-0 1 5} \
    --seeds "${SEEDS:-5}" --tests "${TESTS:-20}" --out "$ROOT/proof_moco.csv" --starts moco="$STARTS/moco.safetensors"
}
if [ "$1" = in_background ]; then
  chain
else
  bash benchmarks/gpu/starts.sh --set norm_kept=source "$@"
  setsid nohup bash "$SELF" in_background >"$ROOT/chain.log" 2>&1 </dev/null &
fi
