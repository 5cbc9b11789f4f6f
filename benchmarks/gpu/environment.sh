# Sourced by the scripts of the proof: where `machine.sh settle` put everything; without it the checkout is used.
ROOT=${ROOT:-/tmp}
if [ -d "$ROOT/repo/src" ]; then cd "$ROOT/repo"; fi
export PYTHONUNBUFFERED=1 OMP_NUM_THREADS=1 CUPRE_DATA=${CUPRE_DATA:-$ROOT/shared/data}
export PYTHONPATH=$PWD/src:$ROOT/site
PYTHON=${PYTHON:-python3}
$PYTHON -c "import imagecodecs" 2>/dev/null || export PYTHONPATH=$PYTHONPATH:$PWD/benchmarks/gpu/shim
STARTS=${STARTS:-$PWD/runs/starts}
KINDS=${KINDS:-fluorescence histology fly_embryos tem_nanoparticles phase_contrast_t98g sem_powder}

# A command that goes on when the call ends, for a limited time, and is tried again where it fails.
in_background() {
  local log=$1 limit=$2
  shift 2
  setsid nohup timeout "$limit" bash -c 'for try in 1 2 3; do "$@" && break; done' again "$@" >>"$log" 2>&1 </dev/null &
  echo "started, log in $log"
}
