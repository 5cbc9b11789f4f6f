"""One Labels layer to a file, as napari's File > Save asks for it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np


def write_labels_layer(format_name: str, path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write the cells of a Labels layer; of an unedited result with scores, classes and overlapping masks.

    Parameters
    ----------
    format_name : as in `export.FORMATS`.
    path : the file; what exists there is replaced once the new one is complete.
    data, meta : of the layer, as napari gives them.

    Returns
    -------
    The path that was written.

    Raises
    ------
    InputError
        For labels of more than four dimensions.
    EnvironmentFault
        Full or read-only disk.
    """
    from napari_cupre.io.writers import FORMATS
    from napari_cupre.io.writers.cells import collect
    from napari_cupre.widgets.saving import class_names, predictions, unedited_planes

    labels = np.asarray(data[0] if isinstance(data, list | tuple) else data)
    planes = unedited_planes(meta.get("metadata", {}), labels)
    if any(set(plane["index"]) != set("TZYX"[-labels.ndim : -2]) for plane in planes):
        planes = ()  # a layer does not say whether its planes are frames or slices
    cells = collect(
        predictions(planes, labels) or labels,
        name=meta.get("name", Path(path).stem),
        labels=labels,
        class_names=class_names(planes),
    )
    FORMATS[format_name].write(cells, Path(path))
    return [path]


write_rois = partial(write_labels_layer, "roi")
write_geojson = partial(write_labels_layer, "geojson")
write_coco = partial(write_labels_layer, "coco")
write_csv = partial(write_labels_layer, "csv")
