"""Draw unlabelled images evenly over looks, so rare stains are seen as often as common ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError, reason_of
from napari_cupre.evaluation.image_features import extract_features
from napari_cupre.evaluation.looks import measure_diversity
from napari_cupre.events import Event
from napari_cupre.io.files import atomic_write
from napari_cupre.io.inputs import images_in
from napari_cupre.io.unlabelled import UnlabelledIndex
from napari_cupre.model.checkpoint import Model

LOOKED_AT = 5_000
"""Maximum number of files to compare. Any other file gets the weight of its neighbour in the list, which
usually comes from the same folder and acquisition."""


def write_weights(path: Path, index: UnlabelledIndex, model: Model, seed: int) -> Iterator[Event]:
    """Compute how often each file should be drawn, and write this for `read_weights`.

    Parameters
    ----------
    path : Path
        The file to write, .npy.
    index : UnlabelledIndex
        The unlabelled files.
    model : Model
        Its backbone compares the images.
    seed : int
        Seed of the features and the clustering.

    Yields
    ------
    Event
        The progress.
    """
    numbers = np.unique(np.linspace(0, len(index) - 1, min(LOOKED_AT, len(index))).astype(int))
    files = {image: int(number) for number in numbers for image in images_in(index[int(number)])}
    features = yield from extract_features(list(files), model, seed=seed)
    looked_at, place = np.unique([files[image] for image in features.paths], return_inverse=True)
    # Images of one file are drawn through the file, so their weights add up.
    weights = np.bincount(place, measure_diversity(features, seed=seed).weights())
    nearest = np.searchsorted((looked_at[1:] + looked_at[:-1]) / 2, np.arange(len(index)))
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.save(stream, weights[nearest].astype(np.float32), allow_pickle=False)


def read_weights(path: Path, index: UnlabelledIndex) -> np.ndarray:
    """Read the weights of the files of an index, float32 (len(index),).

    Raises
    ------
    InputError
        If the file is damaged or belongs to another index.
    """
    try:
        weights = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(
            f"The weights {path} are damaged ({reason_of(error)}); delete the file to compute them again."
        ) from error
    if weights.shape != (len(index),):
        raise InputError(
            f"The weights {path} belong to another set of images; delete the file to compute them again."
        )
    return weights
