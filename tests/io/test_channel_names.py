"""Names of channels, as files give them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile
import zarr

from napari_cupre.io.channel_names import channel_names

STAINS = ("CD3", "CD8", "DAPI", "Pan CK")
PIXELS = np.zeros((4, 20, 30), np.uint16)


def test_stains_of_ome_imagej_and_zarr(tmp_path: Path) -> None:
    ome, imagej, folder = tmp_path / "a.ome.tif", tmp_path / "b.tif", tmp_path / "c.zarr"
    tifffile.imwrite(ome, PIXELS, ome=True, metadata={"axes": "CYX", "Channel": {"Name": STAINS}})
    tifffile.imwrite(imagej, PIXELS, imagej=True, metadata={"axes": "CYX", "Labels": list(STAINS)})
    group = zarr.open_group(str(folder), mode="w", zarr_format=2)
    group.create_array("0", shape=PIXELS.shape, dtype=PIXELS.dtype)[...] = PIXELS  # zarr 3.0 takes no data
    group.attrs["omero"] = {"channels": [{"label": name} for name in STAINS]}
    for path in (ome, imagej, folder):
        assert channel_names(path, 4) == STAINS


def test_names_are_all_there_and_different_or_none(tmp_path: Path) -> None:
    same, none, text = tmp_path / "same.tif", tmp_path / "none.tif", tmp_path / "torn.tif"
    tifffile.imwrite(same, PIXELS, imagej=True, metadata={"axes": "CYX", "Labels": ["a", "a", "b", "c"]})
    tifffile.imwrite(none, PIXELS, ome=True, metadata={"axes": "CYX"})
    text.write_text("torn")
    for path in (same, none, text, tmp_path / "gone.tif"):
        assert channel_names(path, 4) == ()


def test_a_stack_names_its_channels_by_the_first_planes(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    pixels = np.zeros((3, 2, 20, 30), np.uint16)
    labels = [name for _ in range(3) for name in ("actin", "DAPI")]
    tifffile.imwrite(path, pixels, imagej=True, metadata={"axes": "ZCYX", "Labels": labels})
    assert channel_names(path, 2) == ("actin", "DAPI")
