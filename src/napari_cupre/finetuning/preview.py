"""A quick look at what the network finds in one view while it trains."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from napari_cupre.data.augment import rescale
from napari_cupre.data.sample import Sample
from napari_cupre.errors import CupreError
from napari_cupre.events import Notice, Preview
from napari_cupre.finetuning.judge import segment
from napari_cupre.model.network import CellRCNN


def preview_labels(
    network: CellRCNN, image: np.ndarray, scale: float, dtype: torch.dtype | None
) -> np.ndarray:
    """Return the label image, int32 (Y, X), of a view.

    Parameters
    ----------
    image : numpy.ndarray
        float32 (Y, X, 3), normalised.
    scale : float
        Network px per image px.
    dtype : torch.dtype or None
        Data type of autocast.
    """
    shape = image.shape[:2]
    nothing = Sample.complete(image, np.zeros(shape, np.int32))
    labels = segment(network, rescale(nothing, scale).image, dtype)
    rows, columns = (
        np.minimum((np.arange(side) + 0.5) / side * found, found - 1).astype(int)
        for side, found in zip(shape, labels.shape)
    )
    return labels[np.ix_(rows, columns)]


def preview(
    network: CellRCNN, image: np.ndarray, scale: float, dtype: torch.dtype | None, step: int
) -> Iterator[Notice | Preview]:
    """Return what the network finds in a view (see `preview_labels`), or report why that failed."""
    try:
        labels = preview_labels(network, image, scale, dtype)
    except Exception as error:  # a preview must not end a training, whatever goes wrong
        reason = str(error) if isinstance(error, CupreError) else f"{type(error).__name__}: {error}"
        yield Notice(f"This view cannot be previewed; the training continues ({reason.rstrip('.')}).")
        labels = np.zeros(image.shape[:2], np.int32)
    yield Preview(step, labels)
