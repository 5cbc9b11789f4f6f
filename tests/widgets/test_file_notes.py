"""What is known of a file of which napari's own reader passes on only the pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tifffile

WAIT = 60_000


def opened_as_it_should_be(workbench: Any, path: Path, button: str, plane: np.ndarray, qtbot: Any) -> str:
    """What the note says of a file that napari opens; its button opens the picture that was meant."""
    workbench.viewer.open(path, plugin="napari")
    note = workbench.annotate.scenes
    text = note.text
    note.press(button)
    qtbot.waitUntil(lambda: len(workbench.viewer.layers) == 2, timeout=WAIT)
    np.testing.assert_array_equal(workbench.viewer.layers[-1].data, plane)
    return str(text)


def test_the_slide_behind_a_thumbnail_is_offered(workbench: Any, tmp_path: Path, qtbot: Any) -> None:
    """napari shows the first picture of the file."""
    plane = np.random.default_rng(0).integers(0, 255, (64, 80, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "slide.tif") as file:
        file.write(plane[::8, ::8], subfiletype=1, photometric="rgb")
        file.write(plane, photometric="rgb", tile=(32, 32))
    note = opened_as_it_should_be(workbench, tmp_path / "slide.tif", "Open it", plane, qtbot)
    assert 'napari shows 8 × 10 × 3 of "slide.tif"; by its metadata it is 64 × 80 × 3' in note


def test_colours_that_napari_shows_as_light_are_told(workbench: Any, tmp_path: Path, qtbot: Any) -> None:
    plane = np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", 255 - plane, photometric="miniswhite")
    note = opened_as_it_should_be(workbench, tmp_path / "a.tif", "Open its colours", plane, qtbot)
    assert '"a.tif" stores inverted grey, which napari shows as light' in note
    tifffile.imwrite(tmp_path / "b.tif", plane)
    workbench.viewer.open(tmp_path / "b.tif", plugin="napari")
    workbench.annotate.session.image = workbench.viewer.layers["b"]
    assert workbench.annotate.scenes.text == ""


def test_missing_files_of_a_set_are_told(workbench: Any, tmp_path: Path) -> None:
    plane = np.full((40, 50), 7, np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.stack([plane] * 4), imagej=True, metadata={"axes": "TYX"})
    path.write_bytes(path.read_bytes().replace(b"frames=4", b"frames=7").replace(b"images=4", b"images=7"))
    workbench.viewer.open(path, plugin="napari")
    assert "contains 4 of the 7 planes" in workbench.annotate.scenes.text


def test_a_pixel_is_as_large_whichever_reader_opened_the_file(
    no_engine: None, workbench: Any, tmp_path: Path
) -> None:
    """Cell width, tables and saved files are in µm; the layer of napari's reader keeps its place."""
    session = workbench.annotate.session
    told = {"axes": "ZCYX", "unit": "um", "spacing": 2.0}
    stack = np.zeros((4, 2, 40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, resolution=(4.0, 4.0), metadata=told)
    (layer,) = workbench.viewer.open(tmp_path / "a.tif", plugin="napari")
    reading = session.cell_image(layer)
    assert reading.scale == {"Z": 2.0, "Y": 0.25, "X": 0.25}
    assert reading.pixel_size_um == 0.25
    np.testing.assert_array_equal(layer.scale, 1.0)
    np.testing.assert_array_equal(session.make_cells(layer).layer.scale[-2:], 1.0)
    layer.scale = (1.0, 1.0, 0.5, 0.5)  # what a person says counts for more
    layer.units = ("pixel", "pixel", "um", "um")
    assert session.cell_image(layer).pixel_size_um == 0.5
