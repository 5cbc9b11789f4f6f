"""Which images without annotation take part, and how much of each is read."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.io.unannotated import MOST, SIDE, place_of, places, unannotated


def write(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 40), np.uint8)
        iio.imwrite(folder / name, pixels)


def test_annotated_images_and_damaged_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "d.png").write_bytes(b"no picture")
    refused: list[str] = []
    shots = unannotated([tmp_path], 0, {"a.tif"}, refused.append)
    assert [Path(shot.name).name for shot in shots] == ["b.png", "c.png"]
    assert all(shot.is_unlabelled and shot.image.shape == (32, 40, 3) for shot in shots)
    assert len(refused) == 1
    assert "d.png" in refused[0]


def test_a_folder_of_annotated_images_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "a.png")
    with pytest.raises(InputError, match="given as not annotated"):
        unannotated([tmp_path], 0, {"a.png"}, print)


def test_of_a_large_image_a_place_is_taken_and_of_many_images_some() -> None:
    image = CellImage.from_array(np.arange((SIDE + 8) * 64.0).reshape(SIDE + 8, 64), "YX", name="large")
    shot = place_of(image, np.random.default_rng(0))
    assert shot.image.shape == (SIDE, 64, 3)
    assert shot.name == "large"
    small = CellImage.from_array(np.arange(64.0).reshape(8, 8), "YX")
    sources = [(f"{number}", lambda: small) for number in range(MOST + 5)]
    names = [shot.name for shot in places(sources, 0, print)]
    assert len(set(names)) == MOST
    assert names != [str(number) for number in range(MOST)]
