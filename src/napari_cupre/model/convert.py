"""A lighter form of a model: its layers converted to OpenVINO, beside the weights in one file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from napari_cupre.data.samples import SAMPLES, load_sample
from napari_cupre.data.synthetic import draw_field
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.openvino import convert

FIELDS = 24
"""Synthetic fields, of all looks, from which 8-bit ranges are taken, beside the sample images."""

SIDE = 256
"""Their side in px, and that of the pieces of sample images."""


def lighter(model: Model, seed: int = 0) -> Model:
    """A model with the same weights and their OpenVINO form in 8-bit integers, several times as fast.

    Parameters
    ----------
    model : moved to the processor.
    seed : of the synthetic fields.

    Raises
    ------
    EnvironmentFault
        If OpenVINO or NNCF is not installed.
    """
    model.to("cpu").network.eval()
    graphs = convert(model.network, calibration_images(model.network.config.diameter, seed))
    return Model(model.network, replace(model.info, config=model.network.config), graphs)


def calibration_images(diameter: float, seed: int = 0) -> list[Tensor]:
    """Float32 (1, 3, `SIDE`, `SIDE`) images in about [0, 1] with cells of `diameter` px, drawn and real."""
    rng = np.random.default_rng(seed)
    images = [draw_field(rng, SIDE, diameter=diameter).image for _ in range(FIELDS)]
    for info in SAMPLES:
        image = load_sample(info.name).image
        plane = image.normalised(next(image.plane_indices()))
        images.append(plane[:SIDE, :SIDE])
    return [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None] for image in images]
