"""What a user waits for, in one command; the documentation's table is made of `results/speed.csv`.

Run: make bench, or python benchmarks/bench.py [--only command] [--threads 2] [--stock] [--peers PYTHON]

Each measure is a process of its own, and gives the median of its runs: wall and processor
seconds, and the highest memory. On a busy machine processor seconds are what to compare. `--stock` and
`--peers` go to `predict_field.py`, which prints what torchvision's network, StarDist or Cellpose need for the
same field. `--docs` alone rewrites the table in docs/performance.md from the file.
"""

from __future__ import annotations

import argparse
import csv
import functools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results" / "speed.csv"
PAGE = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- table of benchmarks/bench.py -->\n", "<!-- end of the table -->\n"
FIELDS = ("measure", "wall_s", "cpu_s", "peak_mb", "runs", "machine", "date")
TITLES = {
    "field_given": "1,024 × 1,024 px, 324 nuclei, diameter given",
    "field_estimated": "the same, diameter estimated",
    "field_float32": "the same, diameter given, in float32 on every processor",
    "step": "a training step of four crops of 192 px",
    "command": "`napari-cupre predict` of one 512 px image, from process start to files, without torch",
    "command_torch": "the same with torch (`NAPARI_CUPRE_ENGINE=torch`)",
    "command_field": "`napari-cupre predict` of the field of 1,024 px, diameter estimated, without torch",
    "command_field_torch": "the same with torch",
}

Row = dict[str, str]


def repeated(run: Callable[[], object], runs: int) -> tuple[float, float]:
    """Medians of wall and processor seconds."""
    from measure import timed

    walls, cpus = timed(runs, run)
    return statistics.median(walls), statistics.median(cpus)


def measured_field(kind: str, runs: int) -> tuple[float, float]:
    """One field by the bundled model, made ready beforehand."""
    from measure import fluorescence_field

    from napari_cupre.data.image import normalise
    from napari_cupre.model.zoo import open_model
    from napari_cupre.prediction.detector import Detector
    from napari_cupre.prediction.plane import predict_plane

    image, _, diameter = fluorescence_field()
    model = open_model("cupre", "cpu")
    detector, plane = Detector(model), normalise(image)
    if kind == "field_float32":
        detector.engine = model.engine(exact=True)
    given = None if kind == "field_estimated" else diameter
    return repeated(lambda: predict_plane(detector, plane, diameter=given), runs)


def measured_step(runs: int) -> tuple[float, float]:
    """One step of the few-shot trainer's network and optimiser on synthetic crops."""
    import numpy as np
    import torch

    from napari_cupre.finetuning.finetune_optimiser import make_optimiser
    from napari_cupre.finetuning.judge import hold_batchnorm, to_batch
    from napari_cupre.model.targets import target_from_labels
    from napari_cupre.model.zoo import open_model
    from napari_cupre.synthetic import draw_field

    network = open_model("cupre", "cpu").network.train()
    optimiser = make_optimiser(network, 0.5)
    hold_batchnorm(network)
    rng = np.random.default_rng(0)
    crops = [draw_field(rng, 192, diameter=24.0) for _ in range(4)]
    images = to_batch([crop.image for crop in crops], torch.device("cpu"))
    targets = [target_from_labels(crop.labels, crop.known) for crop in crops]

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(network(images, targets).values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()

    return repeated(step, runs)


def child(name: str, runs: int) -> None:
    """What a process of this file does that measures one thing: print it as JSON."""
    wall, cpu = measured_step(runs) if name == "step" else measured_field(name, runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(json.dumps({"wall_s": wall, "cpu_s": cpu, "peak_mb": peak}))


def in_process(name: str, runs: int, threads: int) -> dict[str, float]:
    """Measure something in a fresh process."""
    command = [sys.executable, str(HERE / "bench.py"), "--measure", name, "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(threads))
    return json.loads(done.stdout.splitlines()[-1])


def of_command(name: str, runs: int, threads: int) -> dict[str, float]:
    """The command as a whole process; the first run, which fills the system's file cache, does not count."""
    import imageio.v3 as iio
    from measure import fluorescence_field

    figures = []
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "one.png"
        side = 1024 if "field" in name else 512
        iio.imwrite(image, fluorescence_field()[0][:side, :side])
        engine = {"NAPARI_CUPRE_ENGINE": "torch" if name.endswith("torch") else "onnx"}
        for number in range(runs + 1):
            command = ["predict", "cupre", str(image), "--out", f"{folder}/{number}"]
            code = "import sys; from napari_cupre.cli.main import main; sys.exit(main(sys.argv[1:]))"
            start = time.perf_counter()
            process = subprocess.Popen(
                [sys.executable, "-c", code, *command],
                stdout=subprocess.DEVNULL,
                env=environment(threads) | engine,
            )
            _, status, used = os.wait4(process.pid, 0)
            if status:
                raise RuntimeError(f"the command ended with status {status}")
            wall = time.perf_counter() - start
            figures.append((wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024 / 1e6))
    wall, cpu, peak = (statistics.median(column) for column in zip(*figures[1:], strict=True))
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak}


def environment(threads: int) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def table(rows: Iterable[Row]) -> str:
    """The documentation's table of what is in the file."""
    known = {row["measure"]: row for row in rows}
    lines = ["| what | processor s | wall s | peak MB | machine, load |", "|---|---|---|---|---|"]
    for name, title in TITLES.items():
        if name in known:
            row = known[name]
            lines.append(
                f"| {title} | {float(row['cpu_s']):.2f} | {float(row['wall_s']):.2f} | "
                f"{float(row['peak_mb']):,.0f} | {row['machine']} |"
            )
    return "\n".join(lines) + "\n"


def with_table(page: str, rows: Iterable[Row]) -> str:
    """A page with the table between its two marks renewed."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(rows) + END + after


def kept() -> dict[str, Row]:
    """What was measured before, by measure."""
    if not RESULTS.is_file():
        return {}
    with RESULTS.open(encoding="utf-8", newline="") as stream:
        return {row["measure"]: row for row in csv.DictReader(stream)}


def keep(rows: dict[str, Row]) -> None:
    with RESULTS.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows[name] for name in TITLES if name in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(TITLES), default=list(TITLES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--docs", action="store_true", help="only rewrite the documentation's table")
    parser.add_argument("--stock", action="store_true", help="torchvision's stock network too")
    parser.add_argument("--peers", nargs="+", default=[], metavar="PYTHON", help="interpreters with a peer")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        child(args.measure, args.runs)
        return
    rows = kept()
    for name in [] if args.docs else args.only:
        from measure import machine

        measure = functools.partial(of_command if name.startswith("command") else in_process, name)
        figures = {key: f"{value:.3f}" for key, value in measure(args.runs, args.threads).items()}
        where = f"{machine().rpartition(', Python')[0]}, {args.threads} thread{'s' * (args.threads > 1)}"
        row = {"measure": name, "runs": str(args.runs), "machine": where}
        rows[name] = row | figures | {"date": f"{datetime.now(UTC):%Y-%m-%d}"}
        print(TITLES[name], *(f"{key} {value}" for key, value in figures.items()), sep=", ", flush=True)
        keep(rows)
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8"), rows.values()), encoding="utf-8")
    if args.stock or args.peers:
        options = [*(["--stock"] if args.stock else []), *(["--peers", *args.peers] if args.peers else [])]
        subprocess.run([sys.executable, str(HERE / "predict_field.py"), *options], check=True)


if __name__ == "__main__":
    main()
