"""Many random walks of what a person does in the real window; nothing may be lost, and all is saved in time.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/walks.py --walks 200

Takes `tests/widgets/test_walks.py` with the examples of --seed: a third of the walks on a plane, a third on
a stack, and a third through the images of a project with all tools, which is opened again on the way. A walk
that fails is printed, to be repeated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from script import script_parser

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Walk, and say how many walks it were and how long they took."""
    parser = script_parser(__doc__)
    parser.add_argument("--walks", type=int, default=200)
    parser.add_argument("--steps", type=int, default=30, help="of the longest walk")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0, help="until all is on disk")
    options = parser.parse_args()
    environment = os.environ | {
        "CUPRE_WALKS": str(round(options.walks * 2 / 3)),  # half of them for each of the three tests
        "CUPRE_WALK_STEPS": str(options.steps),
        "CUPRE_WALK_SECONDS": str(options.seconds),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-o", "timeout=0"]
    command += [f"--hypothesis-seed={options.seed}"]
    began = time.monotonic()
    code = subprocess.call([*command, "tests/widgets/test_walks.py"], cwd=ROOT, env=environment)
    print(f"{options.walks} walks of up to {options.steps} steps in {time.monotonic() - began:.0f} s")
    return code


if __name__ == "__main__":
    sys.exit(main())
