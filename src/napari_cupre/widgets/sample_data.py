"""The included sample images for napari's File > Open Sample, with a few cells annotated."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from napari_cupre.io.samples import load_sample
from napari_cupre.widgets.annotation_layers import CELLS, REGIONS, region_style

LayerData = tuple[Any, dict[str, Any], str]


def open_sample(name: str) -> list[LayerData]:
    """Return the layers of a sample: the image, its annotated cells and its regions, if any.

    Their names tell the Annotate widget that they belong together.

    Parameters
    ----------
    name : str
        As in `io.samples.SAMPLES`.
    """
    sample = load_sample(name)
    image = sample.image
    placement = image.values_for(image.result_axes)
    about = {"source": sample.info.source, "licence": sample.info.licence}
    shown: dict[str, Any] = {"name": name, "rgb": image.is_rgb, "metadata": about, **placement}
    pixels = np.asarray(image.data)
    if not image.is_rgb:
        # otherwise a few very bright nuclei would make all others dark
        shown["contrast_limits"] = tuple(float(limit) for limit in np.percentile(pixels, (0.1, 99.5)))
    layers: list[LayerData] = [(pixels, shown, "image")]
    if sample.regions:
        shapes = {"name": f"{name} {REGIONS}", "shape_type": "polygon", **region_style(image), **placement}
        layers.append((sample.regions, shapes, "shapes"))
    layers.append((sample.annotations, {"name": f"{name} {CELLS}", "opacity": 0.6, **placement}, "labels"))
    return layers


nuclei_field = partial(open_sample, "nuclei_field")
nuclei_large = partial(open_sample, "nuclei_large")
nuclei_clusters = partial(open_sample, "nuclei_clusters")
tissue_pink = partial(open_sample, "tissue_pink")
tissue_violet = partial(open_sample, "tissue_violet")
phase_contrast = partial(open_sample, "phase_contrast")
