from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_cupre.cli import demo
from napari_cupre.io import overlay
from napari_cupre.io.samples import load_sample
from napari_cupre.model.checkpoint import new_model


@pytest.mark.slow
def test_all_files_and_figures(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = new_model("tiny").copy(diameter=24.0)  # nothing to estimate
    monkeypatch.setattr(demo, "_starting_model", lambda args: (start, "a tiny model"))
    opened: list[object] = []
    monkeypatch.setattr(demo, "_show", lambda *shown: opened.append(shown))
    ran = command("demo", "--headless", "--minutes", 0.02, "--device", "cpu", "--out", tmp_path, "--json")
    assert ran.code == 0, ran.err
    assert not opened

    sample = load_sample(demo.SAMPLE)
    labels = tifffile.imread(tmp_path / "labels.tif")
    assert labels.dtype == np.int32
    assert labels.shape == sample.annotations.shape
    for name in ("before.png", "after.png"):
        with Image.open(tmp_path / name) as picture:
            assert picture.width > picture.height > 400

    written = json.loads((tmp_path / "report.json").read_text())
    assert written == ran.figures
    assert set(written["before"]) == set(written["after"]) == {"ap50", "ap", "f1"}
    truth = len(set(sample.truth.flat) - {0})
    assert written["judged_on"]["cells"] == truth - written["annotated_cells"]

    (tmp_path / "before.png").write_text("my picture")
    refused = command("demo", "--headless", "--out", tmp_path)
    assert refused.code == 2
    assert "before.png" in refused.err
    assert (tmp_path / "before.png").read_text() == "my picture"


def test_a_perfect_model_scores_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells that were annotated neither count for nor against."""
    sample = load_sample(demo.SAMPLE)

    class Found:
        labels = sample.truth

    monkeypatch.setattr("napari_cupre.prediction.plane.predict_plane", lambda model, image: Found)
    outcome = demo._look(None, sample)  # type: ignore[arg-type]
    assert outcome.report.ap == 1
    assert outcome.report.pooled.truth_count < sample.truth.max()


@pytest.mark.parametrize("display", ["", ":0"])
def test_the_window_needs_a_display(monkeypatch: pytest.MonkeyPatch, display: str) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.setattr(demo, "find_spec", lambda name: object())
    assert demo._has_window() == bool(display)
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert not demo._has_window()


def test_cells_are_tinted_outlined_and_magnified() -> None:
    labels = np.zeros((32, 40), np.int32)
    labels[4:20, 4:20] = 1
    labels[4:20, 20:36] = 2
    grey = np.full((32, 40, 3), 0.5, np.float32)
    picture = overlay.draw_cells(grey, labels)
    factor = picture.shape[0] // 32
    assert picture.shape == (32 * factor, 40 * factor, 3)
    assert factor == 20
    background, first, second = (picture[y * factor, x * factor] for y, x in ((28, 5), (10, 10), (10, 28)))
    np.testing.assert_array_equal(background, 128)
    assert (first != 128).any()
    assert (second != 128).any()
    assert (first != second).any()


def test_regions_are_drawn_where_they_lie() -> None:
    black = np.zeros((64, 64, 3), np.float32)
    picture = overlay.draw_cells(black, regions=[np.array([(10, 20), (10, 50), (30, 50), (30, 20)])])
    rows, columns = np.nonzero(picture.max(axis=2))
    factor = picture.shape[0] // 64
    assert rows.min() // factor == 10
    assert rows.max() // factor == 30
    assert columns.min() // factor == 20
    assert columns.max() // factor == 50
