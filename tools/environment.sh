#!/usr/bin/env bash
# environment.sh VENV [PYTHON]: makes the virtual environment VENV with this package, its tests and its documentation tools.
# Safe to repeat, and mends an environment that an earlier, interrupted run left half made.
set -euo pipefail

venv=$1
python=${2:-}

recent_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ -z "$python" ]; then
  for candidate in python3 python3.13 python3.12 python3.11 python; do
    if recent_enough "$candidate"; then python=$candidate && break; fi
  done
fi
if [ -z "$python" ] || ! recent_enough "$python"; then
  echo "napari-cupre needs Python 3.11 or newer${python:+, which '$python' is not}: install it, or name it with 'make PYTHON=/path/to/python3'." >&2
  exit 2
fi

if ! { recent_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version; } >/dev/null 2>&1; then
  if ! "$python" -m venv --clear "$venv"; then
    # Debian's own Python leaves ensurepip out
    echo "'$python -m venv' did not work: on Debian or Ubuntu, 'apt-get install python3-venv' and run make again." >&2
    exit 2
  fi
fi

pip() { "$venv/bin/python" -m pip install --disable-pip-version-check --quiet "$@"; }

echo "Installing napari-cupre into $venv (the first time takes some minutes: torch is large)"
# The two must come from one resolution: a torch by itself can be one that no torchvision fits.
pip torch torchvision
pip -e '.[all,test]'
