"""Write results in the formats of other programs, in the background."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.data.labels import label_areas
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.events import Event, Finished, Progress, RunState, StateChanged
from napari_cupre.io.files import atomic_write, image_stem
from napari_cupre.io.ownership import next_free
from napari_cupre.prediction.labelstore import cells_table
from napari_cupre.project.project import Project
from napari_cupre.widgets.session import METADATA_KEY, Session
from napari_cupre.words import counted, some_of

if TYPE_CHECKING:
    from napari_cupre.io.writers.output_cells import PredictedInstances
    from napari_cupre.prediction.instances import Instances

# Names and titles; the export code itself is slow to import.
FORMAT_CHOICES = (
    ("tif", "Label image (TIFF)"),
    ("roi", "ImageJ / Fiji ROIs"),
    ("csv", "Measurements (CSV)"),
    ("geojson", "QuPath (GeoJSON)"),
    ("coco", "COCO JSON"),
)


@dataclass(frozen=True)
class Savable:
    """A result layer as plain values, for the worker thread.

    `labels` is int32 over `image.result_axes`. `planes` holds the data that the prediction kept for each
    plane. It is empty once the user has edited the labels, because boxes, scores and masks would then
    describe other cells.
    """

    image: CellImage
    labels: np.ndarray
    planes: tuple[dict[str, Any], ...]


NUMBERED = r".* \[\d+\]"
"""How napari calls a layer where another has its name."""


@dataclass(frozen=True)
class SavableSlide:
    """The result of an image larger than memory: the OME-Zarr `path` shown by its layer."""

    name: str
    path: Path


@dataclass(frozen=True)
class SavableStored:
    """The cells of an image without a layer, stored in the project `folder` under `name`."""

    name: str
    folder: Path

    def read(self) -> Savable | None:
        """Read the cells in the worker thread; return None if there are no cells."""
        from napari_cupre.project.measurements import stored_cells

        with Project.open(self.folder, look_only=True) as project:
            image, labels = stored_cells(project, self.name)
        return Savable(image, labels, ()) if labels.any() else None


def slide_of(session: Session, image: Image) -> Labels | None:
    """Return the layer that shows the cells found in a slide; None if there is none."""
    layer = session.slides.get(image)
    return layer if layer in session.viewer.layers else None


def has_cells(session: Session, image: Image) -> bool:
    """Whether an image has cells to write."""
    if slide_of(session, image) is not None:
        return True
    cells = session.cells_of(image)
    return cells is not None and len(cells.cells) > 0


def savable(session: Session, image: Image) -> Savable | SavableSlide:
    """Return the visible cells of an image, ready to be written.

    Raises
    ------
    InputError
        The image has no cells.
    """
    slide = slide_of(session, image)
    if slide is not None:
        return SavableSlide(image.name, Path(slide.metadata[METADATA_KEY]["slide"]))
    cells = session.cells_of(image) if has_cells(session, image) else None
    if cells is None:
        raise InputError(f'"{image.name}" has no cells yet: find or draw some first.')
    cells.reconcile()
    labels = cells.labels_on_show()
    reading = replace(cells.reading, name=_name_of(session, image))
    return Savable(reading, labels, found_planes(cells.layer.metadata, labels, cells.layer.features))


def _name_of(session: Session, image: Image) -> str:
    """Return the name of a layer, or the project's where napari numbered it, as two files of one name."""
    stem = session.keeper.stem_of(image)
    return stem if stem is not None and re.fullmatch(NUMBERED, image.name) else image.name


def found_planes(metadata: dict[str, Any], labels: np.ndarray, features: Any) -> tuple[dict[str, Any], ...]:
    """Return the prediction data kept by a layer; empty if the labels have been changed since.

    Parameters
    ----------
    metadata : dict[str, Any]
        Of the layer.
    labels : numpy.ndarray
        int32, the present labels.
    features : pandas.DataFrame
        Features of the layer, with the states of the cells.
    """
    kept = metadata.get(METADATA_KEY, {})
    flat = labels.reshape(-1, *labels.shape[-2:])
    is_edited = features["state"] == "edited" if "state" in features else []
    edited = set(features["index"][is_edited]) if len(is_edited) else set()
    planes, seen = [], set()
    for plane in kept.get("planes", ()):
        position = _position(plane["index"], kept, labels.shape)
        seen.add(position)
        now = dict(zip(*(each.tolist() for each in label_areas(flat[position]))))
        then = dict(zip(plane["ids"].tolist(), plane["areas"].tolist()))
        if any(then.get(number) != area or number in edited for number, area in now.items()):
            return ()
        rows = np.isin(plane["ids"], list(now))
        planes.append(plane | {name: plane[name][rows] for name in BY_CELL})
    if any(flat[position].any() for position in range(len(flat)) if position not in seen):
        return ()
    return tuple(planes)


BY_CELL = ("ids", "areas", "boxes", "scores", "classes", "masks")


def _position(index: PlaneIndex, kept: dict[str, Any], shape: tuple[int, ...]) -> int:
    """Return the position of a plane in a layer whose further axes have length 1."""
    axes = kept.get("axes") or "TZYX"[-len(shape) :]
    place = [index.get(axis, 0) for axis in axes if axis not in "YX"]
    leading = [size for size, axis in zip(shape, axes) if axis not in "YX"]
    return int(np.ravel_multi_index(place, leading)) if leading else 0


def save_results(
    results: Sequence[Savable | SavableSlide | SavableStored],
    folder: Path,
    formats: Sequence[str],
    images: Sequence[Path] = (),
    empty: int = 0,
) -> Iterator[Event | None]:
    """Write results into a folder under unused names; a generator for `Job.start`.

    Parameters
    ----------
    formats : Sequence[str]
        Names from `FORMAT_CHOICES`; slides are always copied as OME-Zarr with a table.
    images : Sequence[Path], optional
        Files of the open images; labels written beside an image get its name with "_labels" appended.
    empty : int, optional
        Number of chosen images that have no cells, besides those among the results.
    """
    from napari_cupre.io.writers import write

    names: list[str] = []
    for number, given in enumerate(results):
        result = given.read() if isinstance(given, SavableStored) else given
        if result is None:
            empty += 1
            continue
        name = result.image.name if isinstance(result, Savable) else result.name
        yield Progress(number, len(results), f"writing {name}")
        stem = free_stem(folder, name, result_endings(result, formats), images)
        names.append(stem.name)
        if isinstance(result, SavableSlide):
            copy_slide(result.path, stem.with_name(f"{stem.name}.zarr"))
            continue
        predicted = predictions(result.planes, result.labels)
        write(
            predicted or result.labels,
            stem,
            formats,
            image=result.image,
            labels=result.labels,
            class_names=class_names(result.planes),
        )
    if not names:
        raise InputError("None of these images has cells yet: find or draw some first.")
    without = f" {counted(empty, 'image has', 'images have')} no cells." if empty else ""
    yield Finished(f"Saved as {some_of(names)} in {folder}.{without}")
    yield StateChanged(RunState.DONE)


def result_endings(result: Savable | SavableSlide, formats: Sequence[str]) -> list[str]:
    """Return the endings of a result's files after their stem."""
    from napari_cupre.io.writers import choose_formats

    if isinstance(result, SavableSlide):
        return [".zarr", cells_table(Path("x.zarr")).name.removeprefix("x")]
    return [each.ending for each in choose_formats(formats)]


def free_stem(folder: Path, name: str, endings: Sequence[str], images: Sequence[Path] = ()) -> Path:
    """Return an unused stem for files in `folder`: neither an image nor an earlier result has it.

    Parameters
    ----------
    name : str
        Name of the image layer.
    endings : Sequence[str]
        The endings of the files after their stem.
    images : Sequence[Path], optional
        Files of the open images.
    """
    stem = safe_stem(name)
    beside = {image_stem(path).casefold() for path in images if _same_folder(path.parent, folder)}
    if stem.casefold() in beside:
        stem = f"{stem}_labels"
    return next_free(folder / stem, tuple(endings))


def _same_folder(first: Path, second: Path) -> bool:
    return first.resolve() == second.resolve()


def copy_slide(source: Path, target: Path) -> None:
    """Copy labels and their table; an existing `target` is replaced once the copy is complete.

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


LONGEST_STEM = 180  # bytes, so that endings and numbers fit after it on every disk
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}


def safe_stem(name: str) -> str:
    """Turn a layer's name into a file name that is valid on every system."""
    stem = "".join(c if c.isalnum() or c in " -_.()" else "_" for c in name).strip(" .")
    stem = stem[:-4] if stem.lower().endswith(".ome") else stem
    stem = stem.encode()[:LONGEST_STEM].decode(errors="ignore").strip(" .") or "image"
    return f"_{stem}" if stem.split(".")[0].lower() in RESERVED else stem


def predictions(
    planes: Sequence[dict[str, Any]], labels: np.ndarray
) -> list[tuple[PlaneIndex, PredictedInstances]]:
    """Return predictions by plane, as `export` writes them, from the data of a result layer."""
    return [(plane["index"], _instances(plane, labels)) for plane in planes]


def class_names(planes: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Return the class names from the data of a result layer."""
    return tuple(planes[0]["class_names"]) if planes else ("cell",)


def _instances(plane: dict[str, Any], labels: np.ndarray) -> Instances:
    """Return the prediction of a plane, with labels renumbered from 1 in the order of the rows."""
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
