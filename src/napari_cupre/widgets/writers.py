"""Write one Labels layer for napari's File > Save: the same file as *Save results* writes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.axes import axes_from_labels
from napari_cupre.data.image import CellImage


def write_labels_layer(format_name: str, path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the cells of a Labels layer; an unedited result includes scores, classes and overlapping masks.

    Pixel size, axes and intensities come from the image that the labels belong to in the current viewer.
    Without an image, pixel size and axes are the layer's own, and no intensity is measured.

    Parameters
    ----------
    format_name : str
        As in `io.writers.FORMATS`.
    path : str
        The file; an existing one is replaced once the new one is complete.
    data : array
        Data of the layer, as napari passes it; for a pyramid, the finest level is written.
    meta : dict
        Metadata of the layer, as napari passes it.

    Returns
    -------
    list of str
        The path that was written.

    Raises
    ------
    InputError
        For labels of more than four dimensions.
    EnvironmentFault
        Full or read-only disk.
    """
    from napari_cupre.io.writers import FORMATS
    from napari_cupre.io.writers.output_cells import collect
    from napari_cupre.widgets.saving import class_names, found_planes, predictions

    labels = np.asarray(data[0] if isinstance(data, list | tuple) else data)
    planes = found_planes(meta.get("metadata", {}), labels, meta.get("features", {}))
    segmented = _segmented_image(labels.shape, data, meta)
    image = segmented or _place(labels, meta, "".join(planes[0]["index"]) + "YX" if planes else None)
    if image is None or any(set(plane["index"]) != set(image.result_axes[:-2]) for plane in planes):
        planes = ()
    cells = collect(
        predictions(planes, labels) or labels,
        image=image,
        name=segmented.name if segmented else str(meta.get("name", Path(path).stem)),
        labels=labels,
        class_names=class_names(planes),
    )
    FORMATS[format_name].write(replace(cells, has_pixels=segmented is not None), Path(path))
    return [path]


def _segmented_image(shape: tuple[int, ...], data: Any, meta: dict[str, Any]) -> CellImage | None:
    """Return the image in which the layer's cells were found or annotated; None if it is not open."""
    import napari
    from napari.layers import Labels

    from napari_cupre.errors import CupreError
    from napari_cupre.widgets.session import Session

    viewer = napari.current_viewer()
    if viewer is None:
        return None
    layers = [
        layer for layer in viewer.layers if isinstance(layer, Labels) and layer.name == meta.get("name")
    ]
    session = Session.of(viewer)
    for layer in layers:
        for image in session.images():
            if layer in (session.slides.get(image), session.annotation(image).cells):
                try:
                    found = session.cell_image(image)
                except CupreError:  # the axes are not set yet
                    continue
                if found.result_shape == shape:
                    return found
    return None


def _place(labels: np.ndarray, meta: dict[str, Any], axes: str | None) -> CellImage | None:
    """Return the layer's own pixel size, units and axes; None for labels without planes."""
    if not 2 <= labels.ndim <= 4:
        return None
    named = axes_from_labels(meta.get("axis_labels", ())) or ""
    if axes is None:
        axes = named if set(named) <= set("TZYX") and named.endswith("YX") else "TZYX"[-labels.ndim :]
    return CellImage.from_layer_data(
        labels,
        scale=meta.get("scale"),
        translate=meta.get("translate"),
        units=[str(unit) for unit in meta.get("units") or ()] or None,
        name=str(meta.get("name", "")),
        axes=axes if len(axes) == labels.ndim else "TZYX"[-labels.ndim :],
    )


write_tif = partial(write_labels_layer, "tif")
write_rois = partial(write_labels_layer, "roi")
write_geojson = partial(write_labels_layer, "geojson")
write_coco = partial(write_labels_layer, "coco")
write_csv = partial(write_labels_layer, "csv")
