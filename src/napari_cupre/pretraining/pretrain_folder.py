"""The folder of a run: settings as YAML, metrics as CSV and TensorBoard, state, model, report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.errors import InputError
from napari_cupre.io.files import atomic_write
from napari_cupre.model.runs import LOCK
from napari_cupre.pretraining.pretrain_settings import PretrainSettings, read_settings

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


_FIXED = {"objective", "unlabelled", "preset", "contrastive_steps", "supervised_steps"}
"""Settings that every version writes; they distinguish a run's settings.yaml from other files."""


class PretrainFolder:
    """The files of a run.

    Parameters
    ----------
    path : Path
        The folder given with `--out`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings = path / "settings.yaml"
        self.metrics = path / "metrics.csv"
        self.state = path / "state.safetensors"
        self.model = path / "model.safetensors"
        self.index = path / "unlabelled.sqlite"
        self.weights = path / "weights.npy"
        self.skipped = path / "skipped.txt"
        self.board = path / "tensorboard"
        self.report = path / "report.html"

    def check(self, settings: PretrainSettings, resume: bool) -> None:
        """Refuse to overwrite another run, or to resume a run with other settings.

        Raises
        ------
        InputError
            If the folder cannot be used; nothing is written then.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{self.path} is a file; choose a folder for --out.")
        if not self.settings.exists():
            if resume:
                raise InputError(f"{self.path} contains no run to resume; leave out --resume to start one.")
            if self.path.is_dir() and any(entry.name != LOCK for entry in self.path.iterdir()):
                raise InputError(
                    f"The folder {self.path} is not empty and contains no run; choose a new or empty "
                    "folder for --out."
                )
            return
        self._check_own()
        has_begun = bool(self.read_metrics()) or self.state.exists()
        if not resume and not has_begun:
            return  # an earlier start failed at once, for example because a folder does not exist
        if not resume:
            raise InputError(
                f"The folder {self.path} already contains a run; continue it with --resume, or choose "
                "another --out."
            )
        earlier = PretrainSettings.from_dict(read_settings(self.settings))
        if different := settings.differences(earlier):
            raise InputError(
                f"The run in {self.path} was started with other settings ({'; '.join(different)}); resume it "
                "with the same settings, or start a new run with another --out."
            )

    def _check_own(self) -> None:
        """Refuse a settings.yaml that was not written by a run: it must not be overwritten."""
        try:
            is_own = read_settings(self.settings).keys() >= _FIXED
        except InputError:
            is_own = False
        if not is_own:
            raise InputError(
                f"The file {self.settings} was not written by a pretraining run; choose a new or empty "
                "folder for --out."
            )

    def write_settings(self, settings: PretrainSettings) -> None:
        """Write the settings as YAML, which `--config` can read."""
        import yaml

        self.path.mkdir(parents=True, exist_ok=True)
        self.write_text(self.settings, yaml.safe_dump(settings.as_dict(), sort_keys=False))

    def forget_images(self) -> None:
        """Remove the list of images of an earlier start that failed; the images may have changed."""
        self.index.unlink(missing_ok=True)
        self.weights.unlink(missing_ok=True)

    def write_text(self, path: Path, text: str) -> None:
        """Write a text file of the run, completely or not at all."""
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def read_skipped(self) -> set[str]:
        """Return the files that were reported as unreadable."""
        if not self.skipped.exists():
            return set()
        return set(self.skipped.read_text(encoding="utf-8").splitlines())

    def read_metrics(self) -> list[dict[str, float]]:
        """Read the rows of metrics.csv; empty fields are left out.

        An incomplete last line is left out too: the process was killed while writing it.

        Raises
        ------
        InputError
            If another line is damaged.
        """
        if not self.metrics.exists():
            return []
        whole, _, _ = self.metrics.read_text(encoding="utf-8", errors="replace").rpartition("\n")
        header, *lines = whole.split("\n")
        rows = []
        for number, line in enumerate(lines, start=2):
            row = _read_row(header, line)
            if row is not None:
                rows.append(row)
            elif number <= len(lines):
                raise InputError(
                    f"Line {number} of {self.metrics} is damaged; delete that line or the file to continue."
                )
        return rows


def _read_row(header: str, line: str) -> dict[str, float] | None:
    """Read a row of metrics.csv as values by column; None if it is damaged."""
    names, cells = header.split(","), line.split(",")
    try:
        row = {name: float(cell) for name, cell in zip(names, cells, strict=True) if cell}
    except ValueError:
        return None
    return row if "step" in row else None


class MetricsLog:
    """metrics.csv and TensorBoard: one row of mean values for every `every` iterations.

    Parameters
    ----------
    folder : PretrainFolder
        The folder of the run.
    columns : tuple of str
        Names of the values that may be reported.
    every : int
        Iterations per row.
    step : int
        Step at which the run continues; later rows are removed.
    """

    def __init__(self, folder: PretrainFolder, columns: tuple[str, ...], every: int, step: int) -> None:
        self.columns = ("step", "seconds", *columns)
        self.every = every
        self._sums: dict[str, list[float]] = {}
        kept = [row for row in folder.read_metrics() if row["step"] <= step]
        lines = [",".join(self.columns), *(self._line(row) for row in kept)]
        folder.write_text(folder.metrics, "\n".join(lines) + "\n")
        self._file = folder.metrics.open("a", encoding="utf-8")
        self._board = _summary_writer(folder.board, step)

    def add(self, step: int, seconds: float, values: dict[str, float]) -> None:
        """Report one iteration; writes a row after every `every` iterations."""
        for name, value in values.items():
            self._sums.setdefault(name, []).append(value)
        if step % self.every == 0:
            self.write(step, seconds)

    def write(self, step: int, seconds: float) -> None:
        """Write the values reported since the last row."""
        if not self._sums:
            return
        means = {name: sum(values) / len(values) for name, values in self._sums.items()}
        self._sums.clear()
        self._file.write(self._line({"step": step, "seconds": round(seconds, 2), **means}) + "\n")
        self._file.flush()
        for name, value in means.items():
            self._board.add_scalar(name, value, step)

    def _line(self, row: dict[str, Any]) -> str:
        cells = []
        for name in self.columns:
            value = row.get(name)
            cells.append("" if value is None else str(int(value)) if name == "step" else f"{value:.8g}")
        return ",".join(cells)

    def close(self) -> None:
        """Close the table and the TensorBoard log."""
        self._file.close()
        self._board.close()


def _summary_writer(path: Path, step: int) -> SummaryWriter:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(path), purge_step=step + 1)
