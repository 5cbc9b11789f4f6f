#!/usr/bin/env bash
# newcomer.sh [PYTHON]: what a newcomer does, from the built wheel in an empty environment, with the time of each step.
set -euo pipefail
cd "$(dirname "$0")/.."
unset PYTHONPATH # nothing of the checkout may be imported in place of the wheel

python=${1:-python3}
largest_wheel=45000000 # bytes
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# step NAME COMMAND...: runs a command, prints its name and seconds; what it wrote is shown if it fails.
step() {
  local name=$1 begun=$SECONDS
  shift
  if ! "$@" >"$work/log" 2>&1; then
    tail -n 40 "$work/log" >&2
    echo "newcomer.sh: '$name' failed, see above." >&2
    exit 1
  fi
  printf '%-46s %5d s\n' "$name" "$((SECONDS - begun))"
}

build() {
  "$python" -m venv "$work/builder"
  "$work/builder/bin/python" -m pip install build
  "$work/builder/bin/python" -m build --outdir "$work/dist" .
}

step "build wheel and sdist" build
wheel=$(ls "$work"/dist/*.whl)
size=$(wc -c <"$wheel")
[ "$size" -lt "$largest_wheel" ] || { echo "newcomer.sh: the wheel has $size bytes, over $largest_wheel." >&2; exit 1; }
printf '%-46s %5.1f MB\n' "wheel" "$(echo "$size" | awk '{ print $1 / 1e6 }')"
printf '%-46s %5.1f MB\n' "sdist" "$(wc -c <"$(ls "$work"/dist/*.tar.gz)" | awk '{ print $1 / 1e6 }')"

step "make an empty environment" "$python" -m venv "$work/empty"
step "install the wheel and what it needs" "$work/empty/bin/python" -m pip install "$wheel"
cd "$work"
step "npe2 validate napari-cupre" "$work/empty/bin/npe2" validate napari-cupre
step "napari-cupre models list, first start" "$work/empty/bin/napari-cupre" models list
step "napari-cupre models list" "$work/empty/bin/napari-cupre" models list
step "napari-cupre demo --headless" "$work/empty/bin/napari-cupre" demo --headless --out "$work/demo"
