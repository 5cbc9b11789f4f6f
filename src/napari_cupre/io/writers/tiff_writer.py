"""Write label images as OME-TIFF with the scale of their image."""

from __future__ import annotations

from pathlib import Path

from napari_cupre.io.writers.formats import register_format
from napari_cupre.io.writers.output_cells import PARTIAL, OutputCells


@register_format("tif", ".tif", "Label image, int32 OME-TIFF with scale")
def write_label_tiff(cells: OutputCells, path: Path) -> None:
    """Write the label image of all planes with scale, origin and units."""
    from napari_cupre.io.tiff import write_labels

    image = cells.image
    write_labels(
        path,
        cells.volume(),
        axes=cells.axes,
        scale=image.scale if image is not None else None,
        units=image.units if image is not None else None,
        translate=image.translate if image is not None else None,
        description=PARTIAL if cells.is_partial else "",
    )
