#!/bin/bash
# One call of AMT2 on the GPU machine: from the bundled weights, for MINUTES, the model back in parts under $OUT.
#   bash benchmarks/gpu/pretrain.sh            # there
#   DEVICE=cpu MINUTES=0.2 MORE="--set batch=4 --set source_groups=1 ..." OUT=/tmp/out bash benchmarks/gpu/pretrain.sh
set -eo pipefail
. benchmarks/gpu/environment.sh
RUN=${RUN:-/tmp/amt2}
python3 -m napari_cupre.cli.pretrain --out "$RUN" --config benchmarks/gpu/amt2.yaml --device "${DEVICE:-cuda}" \
  --minutes "${MINUTES:-8}" --workers "${WORKERS:-14}" $MORE 2>&1 | tail -n 40
cp "$RUN/metrics.csv" "$RUN/settings.yaml" "$OUT/"
split -b 14m -d "$RUN/model.safetensors" "$OUT/model.part"
