"""File > Save writes the file that *Save results* writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_cupre.io.images import read_image
from napari_cupre.widgets.saving import savable, save_results
from napari_cupre.widgets.session import Session

ENDINGS = {"tif": ".tif", "roi": "_rois.zip", "csv": ".csv", "geojson": ".geojson", "coco": ".json"}
SAVED_AS = {"tif": ".tif", "roi": ".zip", "csv": ".csv", "geojson": ".geojson", "coco": ".json"}


@pytest.fixture
def film(make_napari_viewer: Callable[..., Any]) -> Any:
    """A window with a film of three frames in µm, its axes named by the user, and its result."""
    viewer = make_napari_viewer()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (3, 30, 40), dtype=np.uint8)
    viewer.add_image(pixels, name="film", scale=(2.0, 0.3, 0.3), units=("second", "um", "um"))
    session = Session.of(viewer)
    (image,) = session.images()
    session.set_axes(image, "TYX")
    labels = np.zeros(pixels.shape, np.int32)
    labels[:, 5:12, 5:12], labels[1, 20:27, 20:30] = 1, 2
    viewer.add_labels(labels, name="film cells", scale=image.scale, units=image.units)
    return viewer


@pytest.mark.parametrize("name", ENDINGS)
def test_file_save_equals_save_results(film: Any, name: str, tmp_path: Path) -> None:
    session = Session.of(film)
    (image,) = session.images()
    (tmp_path / "results").mkdir()
    list(save_results([savable(session, image)], tmp_path / "results", [name]))
    layer = session.make_cells(image).layer
    saved = tmp_path / f"film{SAVED_AS[name]}"
    assert layer.save(str(saved), plugin="napari-cupre") == [str(saved)]
    expected = tmp_path / "results" / f"film{ENDINGS[name]}"
    if name == "tif":
        first, second = read_image(expected), read_image(saved)
        np.testing.assert_array_equal(np.asarray(first.data), np.asarray(second.data))
        assert first.axes == second.axes == "TYX"
        assert first.scale == second.scale == pytest.approx({"T": 2.0, "Y": 0.3, "X": 0.3})
        assert first.units == second.units
    elif name == "roi":
        import roifile

        first, second = (roifile.roiread(path) for path in (expected, saved))
        assert [(r.name, r.t_position, r.z_position) for r in first] == [
            (r.name, r.t_position, r.z_position) for r in second
        ]
    else:
        assert saved.read_text() == expected.read_text()


def test_a_table_has_intensity_pixel_size_and_the_frame(film: Any, tmp_path: Path) -> None:
    path = tmp_path / "cells.csv"
    film.layers["film cells"].save(str(path), plugin="napari-cupre")
    header = path.read_text().splitlines()[0].split(",")
    assert {"t", "intensity_mean", "area_um2"} <= set(header)
    assert "z" not in header


def test_annotated_cells_are_saved_with_their_image(make_napari_viewer: Any, tmp_path: Path) -> None:
    viewer = make_napari_viewer()
    viewer.add_image(np.full((20, 20), 7, np.uint8), name="a", scale=(0.5, 0.5), units=("um", "um"))
    labels = np.zeros((20, 20), np.int32)
    labels[3:9, 3:9] = 1
    layer = viewer.add_labels(labels, name="a cells")
    path = tmp_path / "a.csv"
    layer.save(str(path), plugin="napari-cupre")
    header, row = (line.split(",") for line in path.read_text().splitlines())
    values = dict(zip(header, row))
    assert float(values["intensity_mean"]) == 7
    assert float(values["area_um2"]) == pytest.approx(9)


@pytest.mark.parametrize(
    ("labels", "axes"),
    [(("t", "y", "x"), "TYX"), (("z", "y", "x"), "ZYX"), (("time", "z", "y", "x"), "TZYX")],
)
def test_labels_without_an_image_keep_what_the_layer_says(
    make_napari_viewer: Any, tmp_path: Path, labels: tuple[str, ...], axes: str
) -> None:
    """Axes and pixel size are the layer's; the labels' own values are no intensity."""
    viewer = make_napari_viewer()
    data = np.zeros((2,) * (len(axes) - 2) + (20, 20), np.int32)
    data[..., 3:9, 3:9] = 1
    scale = (4.0,) * (len(axes) - 2) + (0.5, 0.5)
    layer = viewer.add_labels(data, scale=scale, units=("pixel",) * (len(axes) - 2) + ("um", "um"))
    layer.axis_labels = labels
    layer.save(str(tmp_path / "a.csv"), plugin="napari-cupre")
    header = (tmp_path / "a.csv").read_text().splitlines()[0].split(",")
    assert not any(name.startswith("intensity") for name in header)
    assert "area_um2" in header
    assert {axis.lower() for axis in axes[:-2]} == {"t", "z"} & set(header)
    layer.save(str(tmp_path / "a.tif"), plugin="napari-cupre")
    back = read_image(tmp_path / "a.tif")
    assert back.axes == axes
    assert back.scale["Y"] == pytest.approx(0.5)
    assert back.units["X"] == "micrometer"


def test_a_writer_needs_no_window(tmp_path: Path) -> None:
    from napari.layers import Labels

    from napari_cupre.widgets.writers import write_tif

    data, meta, _ = Labels(np.eye(8, dtype=np.int32), scale=(0.2, 0.2)).as_layer_data_tuple()
    assert write_tif(str(tmp_path / "eye.tif"), data, meta) == [str(tmp_path / "eye.tif")]
    assert read_image(tmp_path / "eye.tif").scale["Y"] == pytest.approx(0.2)
