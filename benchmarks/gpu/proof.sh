#!/bin/bash
# The fine-tunings of the proof in the background; it goes on where it was stopped, and through a process that dies.
#   KINDS="fluorescence histology" STEPS=100 SEEDS=5 SECONDS_MOST=560 bash benchmarks/gpu/proof.sh
#   Rows in $CSV (default /tmp/proof.csv), log in /tmp/proof.log; a later call copies them: cp /tmp/proof.csv /tmp/proof.log $OUT/
set -e
. benchmarks/gpu/environment.sh
export CUPRE_DATA=${CUPRE_DATA:-/tmp/data}
S=${STARTS:-/tmp/starts}
FOUND=(scratch)
for name in supervised moco cupre; do
  if [ -f "$S/$name.safetensors" ]; then FOUND+=("$name=$S/$name.safetensors"); else echo "no start $name in $S"; fi
done
if [ -d "$S/target" ]; then FOUND+=("cupre_target=$S/target"); fi
COMMAND=(python3 benchmarks/proof.py --device "${DEVICE:-cuda}" --processes "${PROCESSES:-16}" --steps "${STEPS:-100}"
  --kinds ${KINDS:-fluorescence histology} --shots ${SHOTS:-0 1 5 20} --seeds "${SEEDS:-5}" --tests "${TESTS:-20}" --out "${CSV:-/tmp/proof.csv}"
  --starts "${FOUND[@]}" "$@")
export LIMIT=${SECONDS_MOST:-560}
setsid nohup timeout "$LIMIT" bash -c 'for try in 1 2 3; do "$@" && break; done' proof "${COMMAND[@]}" >> /tmp/proof.log 2>&1 < /dev/null &
echo "started; tail -f /tmp/proof.log"
