#!/bin/bash
# The starts of the proof, several at once: INIT=source.safetensors TIMES=2 bash benchmarks/gpu/starts.sh [options of starts.py]
#   Files in $STARTS (default /tmp/starts), log in /tmp/starts.log. MINUTES ends what takes longer.
set -e
. benchmarks/gpu/environment.sh
export CUPRE_DATA=${CUPRE_DATA:-/tmp/data}
python3 benchmarks/starts.py --init "$INIT" --times "${TIMES:-2}" --minutes "${MINUTES:-5}" --device "${DEVICE:-cuda}" \
  --processes "${PROCESSES:-9}" --workers "${WORKERS:-1}" --only supervised moco cupre --target ${KINDS:-fluorescence histology} \
  --out "${STARTS:-/tmp/starts}" "$@" >> /tmp/starts.log 2>&1
