"""Convert a model's layers to OpenVINO, to be saved in one file with the weights (experimental)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_cupre.data.labels import median_diameter
from napari_cupre.io.samples import SAMPLES, load_sample
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.openvino import convert
from napari_cupre.synthetic import draw_field

FIELDS = 24
"""Number of synthetic fields, of all looks, for the 8-bit ranges, in addition to the sample images."""

SIDE = 256
"""Side in px of these fields and of the pieces of sample images."""


def lighter(model: Model, seed: int = 0) -> Model:
    """Add the OpenVINO form of a model's layers, in 8-bit integers; experimental.

    Prediction takes about half the processor time (see docs/performance.md).

    Parameters
    ----------
    model : Model
        Moved to the processor.
    seed : int, optional
        Seed of the synthetic fields.

    Raises
    ------
    EnvironmentFault
        If OpenVINO or NNCF is not installed.
    """
    model.to("cpu").network.eval()
    graphs = convert(model.network, calibration_images(model.network.config.diameter, seed))
    return Model(model.network, replace(model.info, config=model.network.config), graphs)


def calibration_images(diameter: float, seed: int = 0) -> list[Tensor]:
    """Make the images for the 8-bit ranges: synthetic fields and pieces of the sample images.

    Parameters
    ----------
    diameter : float
        Cell diameter in the images, px.
    seed : int, optional
        Seed of the synthetic fields.

    Returns
    -------
    list of torch.Tensor
        float32 (1, 3, Y, X) in about [0, 1], at most `SIDE` px a side.
    """
    rng = np.random.default_rng(seed)
    images = [draw_field(rng, SIDE, diameter=diameter).image for _ in range(FIELDS)]
    tensors = [_as_tensor(image) for image in images]
    for info in SAMPLES:
        sample = load_sample(info.name)
        plane = sample.image.normalised(next(sample.image.plane_indices()))
        factor = diameter / median_diameter(sample.annotations)
        scaled = F.interpolate(_as_tensor(plane), scale_factor=factor, mode="bilinear", antialias=factor < 1)
        tensors.append(scaled[..., :SIDE, :SIDE])
    return tensors


def _as_tensor(image: np.ndarray) -> Tensor:
    """Turn (Y, X, 3) into (1, 3, Y, X)."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
