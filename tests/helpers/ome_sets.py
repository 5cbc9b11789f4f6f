"""OME-TIFF images that lie in several files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

HEAD = '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '


def write_set(folder: Path, arrays: np.ndarray) -> None:
    """An OME-TIFF file for each time, each with the metadata of all."""
    rows, columns = arrays[0].shape
    data = "".join(
        f'<TiffData FirstC="0" FirstT="{t}" FirstZ="0" IFD="0" PlaneCount="1">'
        f'<UUID FileName="t{t}.ome.tif">urn:uuid:{t}</UUID></TiffData>'
        for t in range(len(arrays))
    )
    for t, array in enumerate(arrays):
        xml = (
            f'{HEAD}UUID="urn:uuid:{t}"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
            f'Type="uint8" SizeX="{columns}" SizeY="{rows}" SizeZ="1" SizeC="1" SizeT="{len(arrays)}" '
            f'PhysicalSizeX="0.5" PhysicalSizeY="0.5">{data}</Pixels></Image></OME>'
        )
        tifffile.imwrite(folder / f"t{t}.ome.tif", array, description=xml, metadata=None)
