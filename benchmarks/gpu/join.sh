#!/bin/bash
# Join the parts of a model that came back: bash benchmarks/gpu/join.sh FOLDER MODEL.safetensors
set -e
cat "$1"/model.part* > "$2.part" && mv "$2.part" "$2"
PYTHONPATH=src python3 -m napari_cupre.cli.main models info "$2"
