"""Entry point of the child process: `python -m napari_cupre.service FOLDER`."""

from __future__ import annotations

import sys

from napari_cupre.service.server import run_child

if __name__ == "__main__":
    sys.exit(run_child(sys.argv[1:]))
