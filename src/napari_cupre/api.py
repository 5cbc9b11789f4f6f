"""The package in five functions, for scripts and notebooks: `import napari_cupre as cupre`.

They take arrays. For files, large images, stacks and events, use the command line or the packages behind
them: `napari_cupre.data`, `.finetuning`, `.prediction`, `.evaluation`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.annotation import make_shot, shots_from_image
from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.data.normalise import check_plane, normalise
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.evaluation.report import evaluate as evaluate
from napari_cupre.events import Event
from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.finetuning.finetune_settings import FinetuneSettings
from napari_cupre.io.unannotated import place_of, unannotated
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.seen_channels import SeenChannels
from napari_cupre.model.zoo import BUNDLED, open_model
from napari_cupre.prediction.instances import Instances
from napari_cupre.prediction.outliner import Outliner
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.prediction.reader import PlaneReader

Image = np.ndarray | CellImage
Polygons = Sequence[np.ndarray]


def load_model(name: str | os.PathLike[str] = BUNDLED, device: str = "auto", seed: int = 0) -> Model:
    """Load a model.

    Parameters
    ----------
    name : str or os.PathLike, optional
        "cupre" (bundled), "scratch" (random weights), one of `napari-cupre models list`, or a path.
    device : str, optional
        "auto", "cpu", "cuda" or "mps".
    seed : int, optional
        Seed of the random weights of "scratch".

    Raises
    ------
    ModelFileError
        If there is no such model, or its file is damaged, from another program, or of another format version.
    """
    return open_model(name, device, seed)


def finetune(
    model: Model,
    images: Sequence[Image],
    labels: Sequence[np.ndarray],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    regions: Sequence[Polygons | None] | None = None,
    partial: bool = False,
    diameter: float | None = None,
    unlabelled: Sequence[Image | str | os.PathLike[str]] | None = None,
    seed: int = 0,
    out: str | os.PathLike[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Model:
    """Train a copy of `model` on a few annotated images, on the same device.

    Parameters
    ----------
    model : Model
        The start; it is not changed.
    images : sequence of Image
        Arrays (Y, X) or (Y, X, C) of any grey values, or `CellImage` (stacks and time series too).
    labels : sequence of numpy.ndarray
        Whole numbers (Y, X) per image, 0 = background, one value per cell.
    minutes, steps : float and int, optional
        The budget, whichever ends first; two minutes if neither is given.
    regions : sequence of Polygons or None, optional
        For each image None, or polygons (n, 2) in pixel (y, x) in which every cell is annotated. Outside
        them, only the annotated cells and a rim around each are known.
    partial : bool, optional
        Only some of the cells are annotated. Otherwise, without regions, all other pixels are background.
    diameter, seed : float and int, optional
        Cell diameter in image px, by default that of the median annotated cell; seed of everything random.
    unlabelled : sequence of Image, str or os.PathLike, optional
        Images without annotation to learn from too, as arrays, files or folders.
    out : str or os.PathLike, optional
        File to write the model to, beside the run's folder, from which the training can be resumed.
    on_event : callable, optional
        Called with every event of the training (see `napari_cupre.events`).

    Returns
    -------
    Model
        The best weights on the held-out cells; those of the start, if training did not improve them.

    Raises
    ------
    InputError
        If sizes differ, nothing is annotated, or an option is out of range.

    Examples
    --------
    >>> model = cupre.finetune(cupre.load_model(), images, labels, minutes=2)  # doctest: +SKIP
    """
    limit, device = 2.0 if minutes is None and steps is None else minutes, str(model.device)
    settings = FinetuneSettings(minutes=limit, steps=steps, diameter=diameter, seed=seed, device=device)
    shots = list(_shots(images, labels, regions, partial, model))
    shots += _others(unlabelled or (), seed, {shot.name for shot in shots}, model)
    return _trained(FinetuneRun(model, shots, settings, None if out is None else Path(out)), on_event)


def _trained(run: FinetuneRun, on_event: Callable[[Event], None] | None) -> Model:
    """The result of a run; passes its events on."""
    for event in run.events():
        if on_event is not None:
            on_event(event)
    if run.result is None:
        raise RuntimeError("the training ended without a result")
    return run.result


def predict(
    model: Model,
    image: Image,
    *,
    diameter: float | None = None,
    score: float | None = None,
    tile: int | None = None,
    augment: bool = False,
) -> Instances:
    """Find every cell of one plane.

    Parameters
    ----------
    image : Image
        (Y, X) or (Y, X, C) in any grey values, or a `CellImage` of one plane.
    diameter, score, tile : float, float and int, optional
        Cell diameter in image px, minimum certainty from 0 to 1, and side of a tile in network px.
        `PredictOptions` says how each is chosen if it is None.
    augment : bool, optional
        Look at the image mirrored, too, and take the mean; twice the time.

    Returns
    -------
    Instances
        `.labels` int32 (Y, X), `.boxes`, `.scores`, and the overlapping `.masks`.

    Raises
    ------
    InputError
        If the image has several planes, no finite value, or an option is out of range.
    """
    return predict_plane(
        model, _plane(image, model), diameter=diameter, score=score, tile=tile, augment=augment
    )


def outline(
    model: Model,
    image: Any,
    boxes: Any = None,
    points: Any = None,
    diameter: float | None = None,
) -> Instances:
    """Outline the cells at given boxes or points.

    Parameters
    ----------
    model : Model
        Any model; none is changed.
    image : Any
        (Y, X) or (Y, X, C) of any grey values, numpy, dask or Zarr, or a `CellImage` of one plane. Of a lazy
        image, only the surroundings of the prompts are read.
    boxes : Any, optional
        float (n, 4), x0, y0, x1, y1 in image px; the first pixel spans 0 to 1. Hand-drawn boxes are fine.
    points : Any, optional
        float (n, 2), y, x in image px, each somewhere in a cell. Give either boxes or points.
    diameter : float, optional
        Cell diameter in image px, for points; None takes the model's, or estimates it from the image.

    Returns
    -------
    Instances
        One row for each prompt, in their order. `.masks` is a list of bool arrays, each as large as its row
        of `.boxes` (whole px); `.scores` says how sure the network is of a cell there; label i + 1 of
        `.labels` is prompt i. A mask is all False if nothing was found. `.labels` of a plane above
        6000 x 6000 px is a dask array, painted when it is read.

    Raises
    ------
    InputError
        If boxes and points are both given or both missing, a prompt lies outside the image, has no area or
        is not finite, or the image has several planes.

    Examples
    --------
    >>> import numpy as np
    >>> import napari_cupre as cupre
    >>> rows, columns = np.mgrid[:64, :64]
    >>> image = ((rows - 30) ** 2 + (columns - 24) ** 2 < 12**2) * 200.0
    >>> cell = cupre.outline(cupre.load_model(), image, boxes=[[12, 18, 36, 42]])
    >>> len(cell), bool(cell.labels[30, 24] == 1), bool(cell.labels[5, 5] == 0)
    (1, True, True)
    """
    if (boxes is None) == (points is None):
        raise InputError("Give either boxes (x0, y0, x1, y1) or points (y, x): each gives one outline.")
    outliner = Outliner(model, _reader(image, model), diameter)
    found = outliner.boxes(boxes) if points is None else outliner.points(points)
    return outliner.instances(found)


def _shots(
    images: Sequence[Image],
    labels: Sequence[np.ndarray],
    regions: Sequence[Polygons | None] | None,
    partial: bool,
    model: Model,
) -> Iterator[Shot]:
    areas = [None] * len(images) if regions is None else list(regions)
    for what, given in (("label images", labels), ("lists of regions", areas)):
        if len(given) != len(images):
            raise InputError(f"There are {len(images)} images but {len(given)} {what}: give one for each.")
    complete = not partial and regions is None
    for number, (image, marked, area) in enumerate(zip(images, labels, areas), start=1):
        if isinstance(image, CellImage):
            yield from shots_from_image(_seen(model).on(image), marked, regions=area, complete=complete)
        else:
            yield make_shot(image, marked, regions=area, complete=complete, name=f"image {number}")


def _others(
    given: Sequence[Image | str | os.PathLike[str]], seed: int, annotated: set[str], model: Model
) -> Iterator[Shot]:
    """Images without annotation; a file that cannot be read is warned of."""
    paths = [each for each in given if isinstance(each, str | os.PathLike)]
    if paths:
        yield from unannotated(paths, seed, annotated, warnings.warn, _seen(model).on)
    for number, image in enumerate(given, start=1):
        if isinstance(image, CellImage):
            yield place_of(_seen(model).on(image), np.random.default_rng([seed, number]))
        elif not isinstance(image, str | os.PathLike):
            yield Shot.unlabelled(normalise(np.asarray(image)), f"unlabelled image {number}")


def _reader(image: Any, model: Model) -> PlaneReader:
    """The one plane of an image, to be read by windows; grey values are stretched as `predict` does."""
    if not isinstance(image, CellImage):
        if not hasattr(image, "dtype"):
            image = np.asarray(image)
        check_plane(image)
        colours = image.ndim == 3 and image.shape[2] in (3, 4) and image.dtype == np.uint8
        if image.ndim == 3 and image.shape[2] > 3 and not colours:
            raise InputError(
                f"The image has {image.shape[2]} channels, but at most three can be used: choose them."
            )
        if not isinstance(image, np.ndarray) and not hasattr(image, "transpose"):
            import dask.array as da

            image = da.from_array(image, chunks=getattr(image, "chunks", "auto"))
        image = CellImage.from_array(image, "YX" if image.ndim == 2 else "YXS" if colours else "YXC")
    else:  # an array has the channels that its owner chose, as for `predict`
        image = _seen(model).on(image)
    return PlaneReader(image, _only_plane(image))


def _only_plane(image: CellImage) -> PlaneIndex:
    planes = list(image.plane_indices())
    if len(planes) != 1:
        raise InputError(
            f"The image has {len(planes)} planes (axes {image.axes}): predict it by "
            "`napari_cupre.prediction.stack.predict_image`, or choose a plane."
        )
    return planes[0]


def _plane(image: Image, model: Model) -> np.ndarray:
    """The one plane of an image, float32 (Y, X, 3), normalised."""
    if not isinstance(image, CellImage):
        return normalise(np.asarray(image))
    return _seen(model).on(image).normalised(_only_plane(image))


def _seen(model: Model) -> SeenChannels:
    """What a model learned from, and is given of images for which nobody chose channels."""
    return SeenChannels.of_training(model.info.training)
