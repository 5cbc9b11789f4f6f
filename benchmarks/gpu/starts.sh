#!/bin/bash
# The starts of the proof, in the background and several at once, from a network that knows the source alone:
#   INIT=source.safetensors TIMES=2 MINUTES=5 bash benchmarks/gpu/starts.sh [more options of starts.py]
# Files in $STARTS, log in $ROOT/starts.log; MINUTES ends what takes longer.
set -e
INIT=$(realpath "$INIT")
. benchmarks/gpu/environment.sh
in_background "$ROOT/starts.log" "${SECONDS_MOST:-900}" $PYTHON benchmarks/starts.py --init "$INIT" --times "${TIMES:-2}" \
  --minutes "${MINUTES:-5}" --device "${DEVICE:-cuda}" --processes "${PROCESSES:-9}" --workers "${WORKERS:-1}" \
  --only supervised moco cupre --target $KINDS --out "$STARTS" "$@"
