"""Entry point of the child process: `python -m napari_cupre.service FOLDER`."""

from __future__ import annotations

import sys

from napari_cupre.service.server import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
