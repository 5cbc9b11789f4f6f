"""A quick look at what the network finds in one view while it trains."""

from __future__ import annotations

import numpy as np
import torch

from napari_cupre.data.augment import rescale
from napari_cupre.data.sample import Sample
from napari_cupre.finetuning.judge import segment
from napari_cupre.model.network import CellRCNN


def preview_labels(
    network: CellRCNN, image: np.ndarray, scale: float, dtype: torch.dtype | None
) -> np.ndarray:
    """Label image int32 (Y, X) of a view.

    Parameters
    ----------
    image : float32 (Y, X, 3), normalised.
    scale : network px per image px.
    dtype : of autocast.
    """
    shape = image.shape[:2]
    nothing = Sample(image, np.zeros(shape, np.int32), np.ones(shape, bool))
    labels = segment(network, rescale(nothing, scale).image, dtype)
    rows, columns = (
        np.minimum((np.arange(side) + 0.5) / side * found, found - 1).astype(int)
        for side, found in zip(shape, labels.shape)
    )
    return labels[np.ix_(rows, columns)]
