"""Write measurements per cell as CSV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.data.axes import micrometers_per
from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.io.files import atomic_write
from napari_cupre.io.writers.formats import register_format
from napari_cupre.io.writers.output_cells import OutputCells, PlaneCells

if TYPE_CHECKING:
    import pandas as pd

# skimage's name, our name, and the power of length in its unit.
_SHAPE = (
    ("centroid-0", "y", 1),
    ("centroid-1", "x", 1),
    ("area", "area", 2),
    ("perimeter", "perimeter", 1),
    ("axis_major_length", "major_axis", 1),
    ("axis_minor_length", "minor_axis", 1),
    ("eccentricity", "eccentricity", 0),
    ("solidity", "solidity", 0),
    ("orientation", "orientation_rad", 0),
)
_INTENSITY = ("intensity_mean", "intensity_min", "intensity_max")
_COLOURS = ("red", "green", "blue")


@register_format("csv", ".csv", "Measurements per cell (area, shape, intensity)")
def write_csv(cells: OutputCells, path: Path) -> None:
    """Write a row per cell and plane; see `measure`."""
    table = measure(cells)
    with atomic_write(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def measure(cells: OutputCells) -> pd.DataFrame:
    """Measure every cell of every plane.

    Returns
    -------
    pandas.DataFrame
        Columns: `label`; `t` and `z` (0-based) as far as the image has them; `class`; `score` if known;
        `y_px`, `x_px` (centroid, the first pixel's centre at 0), `area_px`, `perimeter_px`,
        `major_axis_px`, `minor_axis_px`, the same in µm (`area_um2`) where the image says its pixel
        size and pixels are square; `eccentricity`, `solidity`, `orientation_rad` (of the major axis,
        counter-clockwise from the row axis); `intensity_mean`, `_min`, `_max` where the image is given,
        per channel with the ending `_ch1`, `_ch2`, ... or `_red`, `_green`, `_blue`. Shape and intensity
        are scikit-image's `regionprops_table`.
    """
    import pandas as pd

    pixel_size = _pixel_size(cells.image)
    tables = [_measure_plane(cells, plane, pixel_size) for plane in cells.planes]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame({"label": []})


def _measure_plane(cells: OutputCells, plane: PlaneCells, pixel_size: float | None) -> pd.DataFrame:
    import pandas as pd
    from skimage.measure import regionprops_table

    image = cells.image if cells.has_pixels else None
    channels = {} if image is None else dict(_channels(image, plane.index))
    wanted = ["centroid", *(name for name, _, _ in _SHAPE[2:])]
    intensities = np.stack(list(channels.values()), axis=-1) if channels else None
    if channels:
        wanted += _INTENSITY
    # Ranks instead of values, since skimage makes a list as long as the largest value.
    ranks = np.searchsorted(np.append(0, plane.ids), plane.labels)
    values = regionprops_table(ranks, intensities, properties=wanted)
    table = pd.DataFrame({"label": plane.ids})
    for axis, position in plane.index.items():
        table[axis.lower()] = position
    table["class"] = [cells.class_name(category) for category in plane.classes]
    if plane.instances is not None:
        table["score"] = plane.scores
    for source, name, power in _SHAPE:
        table[f"{name}_px" if power else name] = values[source]
        if power and pixel_size is not None:
            unit = "um2" if power == 2 else "um"
            table[f"{name}_{unit}"] = values[source] * pixel_size**power
    for number, ending in enumerate(channels):
        for name in _INTENSITY:
            table[name + ending] = values[f"{name}-{number}"]
    return table


def _pixel_size(image: CellImage | None) -> float | None:
    """Return the side of a square pixel in µm, None if it is not known or pixels are not square."""
    if image is None:
        return None
    height, width = (image.scale[axis] * (micrometers_per(image.units[axis]) or np.nan) for axis in "YX")
    return height if np.isclose(height, width, rtol=1e-4) else None


def _channels(image: CellImage, index: PlaneIndex) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each channel's column ending and its plane (Y, X)."""
    if image.is_rgb:
        for number, colour in enumerate(_COLOURS):
            yield f"_{colour}", image.plane(index, [number])
    elif image.channel_count == 1:
        yield "", image.plane(index, [0])
    else:
        for number in range(image.channel_count):
            yield f"_ch{number + 1}", image.plane(index, [number])
