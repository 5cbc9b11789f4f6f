#!/usr/bin/env bash
# environments.sh oldest | naparis [VERSION ...]: tests in environments of their own under .venvs, made with uv.
#   oldest    the whole suite at the lower bounds of pyproject.toml
#   naparis   every door and the window tests in each supported napari, with PyQt6 and with PySide6
# uv links one copy of torch into all of them. UV_TORCH_BACKEND=cpu, UV_CONSTRAINT and the like work as ever.
# QT=pyqt6 or QT=pyside6 chooses one of the two; PYTHON=... the interpreter. The default is 3.11: the lower bounds
# have no wheels for newer ones.
set -euo pipefail
cd "$(dirname "$0")/.."

supported=(0.7.0 0.7.1 0.8.0 0.9.0 0.9.1 0.9.2)
bindings=(${QT:-pyqt6 pyside6})
python=${PYTHON:-3.11}  # PYTHON= in the Makefile may be empty
folder=.venvs
mkdir -p "$folder"
# A warning is an error with the newest libraries alone: others warn of what is no longer true.
export PYTEST_ADDOPTS="${PYTEST_ADDOPTS:-} -W default"

[ -x "$folder/uv/bin/uv" ] || { python3 -m venv --clear "$folder/uv" && "$folder/uv/bin/python" -m pip install --quiet uv; }
uv=$folder/uv/bin/uv

# make ENVIRONMENT REQUIREMENTS...: an environment with this package, made anew when pyproject.toml changed.
make_environment() {
  local environment=$folder/$1
  shift
  [ "$environment/.installed" -nt pyproject.toml ] && return
  "$uv" venv --quiet --clear --python "$python" "$environment"
  "$uv" pip install --quiet --python "$environment/bin/python" "$@"
  touch "$environment/.installed"
}

# The tests, a process for each core, as in the Makefile. Libraries of other years warn of other things.
tests=(-m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart=0 -W default)
export OMP_NUM_THREADS=1

# A screen for the windows where there is one to be had.
screen() { if command -v xvfb-run >/dev/null; then xvfb-run -a -s "-screen 0 1600x1000x24" "$@"; else "$@"; fi; }

case ${1:-} in
oldest)
  make_environment oldest --resolution lowest-direct -e '.[all,fast,test]'
  "$folder/oldest/bin/python" tools/bounds.py all fast cluster test  # else something lower is promised than tried
  screen "$folder/oldest/bin/python" "${tests[@]}"
  ;;
naparis)
  shift
  failed=()
  for version in "${@:-${supported[@]}}"; do
    for binding in "${bindings[@]}"; do
      name=napari-$version-$binding
      make_environment "$name" -e '.[test]' "napari[$binding,optional-base]==$version"
      echo "== $name"
      screen env QT_API="$binding" "$folder/$name/bin/python" tools/doors.py || failed+=("$name: doors")
      screen env QT_API="$binding" "$folder/$name/bin/python" "${tests[@]}" -q tests/widgets || failed+=("$name: tests")
    done
  done
  [ ${#failed[@]} -eq 0 ] || { printf 'failed: %s\n' "${failed[@]}" >&2; exit 1; }
  ;;
*)
  sed -n 2,7p "$0"
  exit 2
  ;;
esac
