#!/bin/bash
# The fine-tunings of the proof, in the background; the same command goes on where it was stopped.
#   STEPS=100 SEEDS=5 SECONDS_MOST=560 bash benchmarks/gpu/proof.sh [more options of proof.py]
# Rows in $CSV, log in $ROOT/proof.log; a later call copies them: cp /tmp/proof.csv /tmp/proof.log $OUT/
set -e
. benchmarks/gpu/environment.sh
FOUND=(scratch)
for name in supervised moco cupre; do
  if [ -f "$STARTS/$name.safetensors" ]; then FOUND+=("$name=$STARTS/$name.safetensors"); else echo "no start $name in $STARTS"; fi
done
if [ -d "$STARTS/target" ]; then FOUND+=("cupre_target=$STARTS/target"); fi
in_background "$ROOT/proof.log" "${SECONDS_MOST:-560}" $PYTHON benchmarks/proof.py --device "${DEVICE:-cuda}" \
  --processes "${PROCESSES:-16}" --steps "${STEPS:-100}" --kinds $KINDS --shots ${SHOTS:-0 1 5 20} --seeds "${SEEDS:-5}" \
  --tests "${TESTS:-20}" --out "${CSV:-$ROOT/proof.csv}" --starts "${FOUND[@]}" "$@"
