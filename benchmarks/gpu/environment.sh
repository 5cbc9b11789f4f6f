# Sourced by the scripts of this folder: what the GPU machine lacks is taken from .whl and shim.
export PYTHONUNBUFFERED=1 PYTHONPATH=$PWD/src
if ! python3 -c "import lightning_fabric, pycocotools, platformdirs, pydantic" 2>/dev/null; then
  if [ ! -d /tmp/site ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target /tmp/site .whl/*.whl
  fi
  export PYTHONPATH=$PYTHONPATH:/tmp/site
fi
python3 -c "import imagecodecs" 2>/dev/null || export PYTHONPATH=$PYTHONPATH:$PWD/benchmarks/gpu/shim
