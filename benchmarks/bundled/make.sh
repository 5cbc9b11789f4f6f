#!/bin/bash
# The shipped models from their data, stage by stage; a stage that was stopped goes on.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
[ -f runs/sources/kept_back.txt ] || python benchmarks/bundled/prepare.py runs/sources

stage() { # run, settings
    if [ -f "runs/$1/state.safetensors" ]; then
        napari-cupre-pretrain --out "runs/$1" --resume
    else
        napari-cupre-pretrain --config "benchmarks/bundled/$2" --out "runs/$1"
    fi
}

stage cupre-1 1-source.yaml
stage cupre-2 2-cupre.yaml
stage cells-3 3-cells.yaml
stage cells 4-cells.yaml
stage nuclei-5 5-nuclei.yaml
stage nuclei-6 6-nuclei.yaml
stage cells-7 7-cells.yaml
[ -f runs/sources/pseudo.json ] || python benchmarks/bundled/pseudo.py runs/cupre-2/model.safetensors \
    runs/sources/pseudo.json --exclude runs/sources/kept_back.txt --images 642
stage cupre-8 8-cupre.yaml
[ -f runs/sources/pseudo_8.json ] || python benchmarks/bundled/pseudo.py runs/cupre-8/model.safetensors \
    runs/sources/pseudo_8.json --exclude runs/sources/kept_back.txt --images 1046
stage cupre-9 9-cupre.yaml
stage cells-10 10-cells.yaml
stage nuclei-11 11-nuclei.yaml
python benchmarks/bundled/publish.py cupre runs/cupre-9/model.safetensors
python benchmarks/bundled/publish.py cells runs/cells-10/model.safetensors
python benchmarks/bundled/publish.py nuclei runs/nuclei-11/model.safetensors
