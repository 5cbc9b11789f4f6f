#!/bin/bash
# The simulations of enough_truth.py in the background, several at once; those that are there are not repeated.
#   PROCESSES=4 SEEDS="0 1 2" bash benchmarks/gpu/enough.sh
# A file for each in $ROOT/enough, all measurements in $ROOT/enough/kept, log in $ROOT/enough.log.
set -e
. benchmarks/gpu/environment.sh
export DEVICE=${DEVICE:-cuda} STEPS=${STEPS:-30} TESTS=${TESTS:-6} REPEATS=${REPEATS:-3} ROOT PYTHON
mkdir -p "$ROOT/enough"
simulate() {
  $PYTHON benchmarks/enough_truth.py --device "$DEVICE" --steps "$STEPS" --tests "$TESTS" --repeats "$REPEATS" \
    --keep "$ROOT/enough/kept" --kinds "$1" --seeds "$2" --out "$ROOT/enough/$1_$2.csv"
}
export -f simulate
every() { for seed in ${SEEDS:-0 1 2 3 4 5 6 7 8 9}; do for kind in $KINDS; do echo "$kind" "$seed"; done; done; }
export -f every
export SEEDS KINDS PROCESSES=${PROCESSES:-4}
in_background "$ROOT/enough.log" "${SECONDS_MOST:-1500}" \
  bash -c 'every | xargs -P "$PROCESSES" -n 2 bash -c '"'"'simulate "$0" "$1"'"'"
