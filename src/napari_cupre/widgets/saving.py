"""Writing what was predicted, in the formats of other programs, beside the window."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.events import Event, Finished, Progress, RunState, StateChanged
from napari_cupre.io.files import atomic_write
from napari_cupre.prediction.labelstore import cells_table
from napari_cupre.widgets.session import METADATA_KEY, Session

if TYPE_CHECKING:
    from napari_cupre.io.writers.cells import PredictedInstances
    from napari_cupre.prediction.instances import Instances

# Name, title and whether it is ticked at first; the export part itself is slow to import.
FORMAT_CHOICES = (
    ("tif", "Label image (TIFF)", True),
    ("roi", "ImageJ / Fiji ROIs", True),
    ("csv", "Measurements (CSV)", True),
    ("geojson", "QuPath (GeoJSON)", False),
    ("coco", "COCO JSON", False),
)


@dataclass(frozen=True)
class Savable:
    """A result layer as plain values, for the worker thread.

    Attributes
    ----------
    image : the image that was segmented.
    labels : int32 over `image.result_axes`, as the layer holds them now.
    planes : what the prediction kept of each plane; empty once the user has edited the labels, since boxes,
        scores and masks would then tell of other cells.
    """

    image: CellImage
    labels: np.ndarray
    planes: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class SavableSlide:
    """The result of an image larger than memory: the OME-Zarr `path` that its layer shows."""

    name: str
    path: Path


def result_of(session: Session, image: Image) -> Labels | None:
    """The result layer of an image, also under another name; None if there is none."""
    layer = session.results.get(image)
    return layer if layer in session.viewer.layers else None


def savable(session: Session, image: Image) -> Savable | SavableSlide:
    """The result of an image, ready to be written.

    Raises
    ------
    InputError
        If the image has no result, or it was cut to another shape.
    """
    layer = result_of(session, image)
    if layer is None:
        raise InputError(f'There is no result for "{image.name}" yet: find its cells first.')
    if slide := layer.metadata.get(METADATA_KEY, {}).get("slide"):
        return SavableSlide(image.name, Path(slide))
    return Savable(session.cell_image(image), layer.data, unedited_planes(layer.metadata, layer.data))


def unedited_planes(metadata: dict[str, Any], labels: np.ndarray) -> tuple[dict[str, Any], ...]:
    """What a layer's metadata keep of the prediction; nothing if there was none or the labels were edited."""
    kept = metadata.get(METADATA_KEY, {})
    is_edited = kept.get("checksum") != checksum(labels)
    return () if is_edited else tuple(kept["planes"])


def checksum(labels: np.ndarray) -> int:
    """Tells edited labels from those that were predicted."""
    return zlib.crc32(np.ascontiguousarray(labels).data)


def save_results(
    results: Sequence[Savable | SavableSlide], folder: Path, formats: Sequence[str]
) -> Iterator[Event | None]:
    """Write results into a folder; a generator for `Job.start`.

    Parameters
    ----------
    formats : names out of `FORMAT_CHOICES`; slides are copied as the OME-Zarr and the table that they are.
    """
    from napari_cupre.io.writers import write

    for number, result in enumerate(results):
        if isinstance(result, SavableSlide):
            yield Progress(number, len(results), f"writing {result.name}")
            copy_slide(result.path, folder / f"{safe_stem(result.name)}.zarr")
            continue
        yield Progress(number, len(results), f"writing {result.image.name}")
        stem = folder / safe_stem(result.image.name)
        predicted = predictions(result.planes, result.labels)
        write(
            predicted or result.labels,
            stem,
            formats,
            image=result.image,
            labels=result.labels,
            class_names=class_names(result.planes),
        )
    count = "1 result" if len(results) == 1 else f"{len(results)} results"
    yield Finished(f"{count} written to {folder}.")
    yield StateChanged(RunState.DONE)


def copy_slide(source: Path, target: Path) -> None:
    """Copy labels and their table; what is at `target` is replaced once the copy is complete.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    half = target.with_name(f".{target.name}.part")
    try:
        shutil.rmtree(half, ignore_errors=True)
        shutil.copytree(source, half)
        if target.exists():
            shutil.rmtree(target)
        half.rename(target)
        if cells_table(source).is_file():
            with atomic_write(cells_table(target)) as temporary:
                shutil.copyfile(cells_table(source), temporary)
    except OSError as error:
        shutil.rmtree(half, ignore_errors=True)
        reason = error.strerror or str(error)
        raise EnvironmentFault(
            f'"{target}" could not be written ({reason}): choose another folder.'
        ) from error


def safe_stem(name: str) -> str:
    """A layer's name as the name of a file."""
    return "".join(c if c.isalnum() or c in " -_.()" else "_" for c in name).strip(" .") or "image"


def predictions(
    planes: Sequence[dict[str, Any]], labels: np.ndarray
) -> list[tuple[PlaneIndex, PredictedInstances]]:
    """Predictions by plane, as `export` writes them, from what a result layer keeps."""
    return [(plane["index"], _instances(plane, labels)) for plane in planes]


def class_names(planes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Names of the classes of what a result layer keeps."""
    return tuple(planes[0]["class_names"]) if planes else ("cell",)


def _instances(plane: dict[str, Any], labels: np.ndarray) -> Instances:
    """The prediction of a plane, its labels counted from 1 in the order of the rows again."""
    from napari_cupre.prediction.instances import Instances, Masks

    index: PlaneIndex = plane["index"]
    shown = labels[tuple(index.values())]
    table = np.zeros(int(max(shown.max(initial=0), plane["ids"].max(initial=0))) + 1, dtype=np.int32)
    table[plane["ids"]] = np.arange(1, len(plane["ids"]) + 1)
    table[0] = 0
    return Instances(
        labels=table[shown],
        boxes=plane["boxes"],
        scores=plane["scores"],
        masks=Masks(plane["masks"], plane["boxes"], (shown.shape[0], shown.shape[1])),
        classes=plane["classes"],
        diameter=plane["diameter"],
    )
