"""Read images and label images of every kind: `read_image` and `read_labels`.

Files are listed, paired and written by `files.py` and `pairing.py`, label TIFFs by `tiff.py`; all are
re-exported here.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_cupre.data.axes import parse_axes
from napari_cupre.data.image import CellImage
from napari_cupre.data.labels import as_labels
from napari_cupre.errors import CupreError, InputError, naming, reason_of
from napari_cupre.io.files import (
    FOREIGN_SUFFIXES,
    IMAGE_SUFFIXES,
    atomic_write,
    image_name,
    image_stem,
    is_companion,
    is_image_file,
    is_junk,
    is_tiff,
    is_zarr,
    list_images,
    natural_key,
    refuse_empty,
    split_scene,
)
from napari_cupre.io.ome import file_of
from napari_cupre.io.pairing import pair_by_stem
from napari_cupre.io.scenes import Scene, choose_scenes, list_names
from napari_cupre.io.tiff import read_tiff, tiff_scenes, write_labels

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "IMAGE_SUFFIXES",
    "Scene",
    "atomic_write",
    "image_stem",
    "is_image_file",
    "is_junk",
    "is_zarr",
    "list_images",
    "natural_key",
    "pair_by_stem",
    "read_image",
    "read_labels",
    "scenes",
    "write_labels",
]


def read_image(
    path: str | os.PathLike[str],
    axes: str | None = None,
    *,
    series: str | int | None = None,
    partial: bool = False,
    alone: bool = False,
) -> CellImage:
    """Read a PNG, JPEG, BMP, TIFF, OME-TIFF or OME-Zarr image.

    Parameters
    ----------
    path : str or os.PathLike[str]
        A file, the folder of an OME-Zarr, or one scene in it ("a.ome.tif/well1").
    axes : str or None, optional
        One letter per dimension out of "TZCYX" and "S" (RGB); overrules what the file says.
    series : str or int or None, optional
        Name or number of the image in a file of several (see `scenes`); None takes the first that is neither
        label nor thumbnail, and the image's `notices` say what else there is.
    partial : bool, optional
        Read what is there of a TIFF stack with damaged pages, or of an OME-TIFF set with missing files; the
        image's `lacks` names the rest.
    alone : bool, optional
        Read a file of an OME-TIFF set by itself.

    Returns
    -------
    CellImage
        With the file's axes, scale, origin and units; `guessed` is set where the file names no axes. Zarr and
        TIFFs beyond 256 MB are dask arrays, all others numpy.

    Raises
    ------
    InputError
        Missing, truncated, damaged or unknown file (named), no such series, or axes that do not fit.
    """
    place = Path(path)
    file, scene = _located(place)
    image: CellImage = _guarded(file, lambda file: _read(file, axes, scene or series, partial, alone))
    if scene:
        image.name, image.path = image_name(place), place
    return image


def scenes(path: str | os.PathLike[str]) -> list[Scene]:
    """List the images in a file, without the lower levels of pyramids.

    Parameters
    ----------
    path : str or os.PathLike[str]
        A file or an OME-Zarr folder, also a plate or a well.

    Returns
    -------
    list of Scene
        Name, number, axes and shape of each, read from the metadata alone; one for most files.

    Raises
    ------
    InputError
        Missing, truncated, damaged or unknown file; the message names it.
    """
    file, scene = _located(Path(path))
    found: list[Scene] = _guarded(file, _scenes)
    return choose_scenes(found, scene, file.name) if scene else found


def _scenes(path: Path) -> list[Scene]:
    if path.is_dir():
        from napari_cupre.io.omezarr import zarr_scenes

        return zarr_scenes(path)
    if is_tiff(path):
        return tiff_scenes(path)
    from PIL import Image

    with Image.open(path) as picture:
        return [Scene("0", 0, "YX", (picture.height, picture.width))]


def _located(path: Path) -> tuple[Path, str]:
    """Return the file or folder to open, and the scene in it; "" if the path names all of it."""
    if not os.path.exists(path):
        return split_scene(path)
    return (file_of(path) if is_companion(path) else path), ""


def read_labels(
    path: str | os.PathLike[str], axes: str | None = None, *, series: str | int | None = None
) -> np.ndarray:
    """Read a label image: int32, 0 = background, one value per instance.

    Palette pictures give their indices. In an OME-Zarr the image under `labels/` is read. Axes of length 1
    before or after rows and columns are dropped.

    Parameters
    ----------
    path : str or os.PathLike[str]
        As for `read_image`.
    axes : str or None, optional
        Letters of the file's dimensions; the labels are returned over T, Z, Y, X in this order. Ignored where
        there are fewer dimensions than letters, as in a plane of a stack.
    series : str or int or None, optional
        Name or number of the label image in a file of several.

    Raises
    ------
    InputError
        As for `read_image`; also if the values are colours, fractions or negative, or if there are several
        label images and none is chosen.
    """
    path = Path(path)
    file, scene = _located(path)
    values = _guarded(file, lambda file: _read_label_values(file, scene or series, axes))
    labels = as_labels(_in_order(values, axes), path.name)
    if labels.ndim > 2 and labels.shape[-1] == 1 < min(labels.shape[-3:-1]):
        labels = labels[..., 0]  # some networks add a channel axis at the end
    leading = tuple(axis for axis, size in enumerate(labels.shape[:-2]) if size == 1)
    return labels.squeeze(leading)


def _in_order(values: np.ndarray, axes: str | None) -> np.ndarray:
    """Bring labels into the order T, Z, Y, X; channels and colours have no labels."""
    if axes is None:
        return values
    letters = parse_axes(axes)
    plain = "".join(axis for axis in letters if axis not in "CS")
    for names in (letters, plain):
        channels = [size for axis, size in zip(names, values.shape) if axis in "CS"]
        if len(names) == values.ndim and all(size == 1 for size in channels):
            kept = values[tuple(0 if axis in "CS" else slice(None) for axis in names)]
            return kept.transpose([plain.index(axis) for axis in "TZYX" if axis in plain])
    return values


def _guarded(path: Path, read: Any) -> Any:
    """Call `read(path)` and turn any error from a damaged file into one sentence."""
    if not path.exists():
        raise InputError(f'There is no file "{path}": check the path.')
    refuse_empty(path)
    try:
        return read(path)
    except CupreError as error:
        if str(path) in str(error) or path.name in str(error):
            raise
        raise type(error)(naming(f'"{path}"', error)) from error
    except PermissionError as error:
        raise InputError(f'"{path}" cannot be read: check its permissions.') from error
    # On a damaged file decoders raise anything from IndexError to their own types.
    except Exception as error:
        raise InputError(
            f'"{path}" cannot be read ({reason_of(error)}): '
            f"it is truncated, damaged or not an image; copy it again."
        ) from error


def _read(path: Path, axes: str | None, series: str | int | None, partial: bool, alone: bool) -> CellImage:
    if path.is_dir():
        # Zarr and dask take long to import, and most users never need them.
        from napari_cupre.io.omezarr import read_zarr

        return read_zarr(path, axes, series=series)
    if is_tiff(path):
        return read_tiff(path, axes, series=series, partial=partial, alone=alone)
    pixels, notices = _read_picture(path, palette_as_colours=True)
    if series is not None:  # else the only one is read
        choose_scenes(_scenes(path), series, path.name)
    # A picture has rows, columns and perhaps colour samples: there is nothing to guess.
    known = "YXS" if pixels.ndim == 3 else "YX"
    image = CellImage.from_array(pixels, axes or known, name=path.name, path=path)
    image.notices = notices
    return image


def _read_label_values(path: Path, series: str | int | None, axes: str | None) -> np.ndarray:
    if path.is_dir():
        from napari_cupre.io.omezarr import read_zarr_labels

        values: np.ndarray = np.asarray(read_zarr_labels(path, series).data)
    elif is_tiff(path):
        found = choose_scenes(tiff_scenes(path), None, path.name)
        if len(found) > 1 and series is None:
            raise InputError(
                f'"{path}" has {len(found)} label images ({list_names(found)}): choose one with --series.'
            )
        chosen = series if len(found) > 1 else None
        scene = choose_scenes(found, chosen, path.name)[0]
        if scene.axes.endswith("SYX") and len(scene.axes) <= 4:
            return _planes_of_labels(path, len(scene.axes), chosen, axes)
        values = np.asarray(read_tiff(path, series=chosen, palette_as_colours=False).data)
    else:
        values, _ = _read_picture(path, palette_as_colours=False)
    if values.ndim >= 3 and values.shape[-1] in (3, 4) and path.is_file():
        colours = values[..., :3]
        if (colours != colours[..., :1]).any():
            raise InputError(f'"{path}" is a colour image, not a label image: give one label per cell.')
        values = colours[..., 0]
    return values


def _planes_of_labels(path: Path, dimensions: int, series: str | int | None, axes: str | None) -> np.ndarray:
    """Read three or four planes of labels, which tifffile writes as the samples of a colour picture.

    If all planes are equal, they are one label image saved as grey in RGB, unless the axes say otherwise.
    """
    planes = np.asarray(read_tiff(path, "TZYX"[-dimensions:], series=series, palette_as_colours=False).data)
    first = planes[..., :1, :, :]
    is_grey = axes is None and bool((planes == first).all())
    return first.squeeze(-3) if is_grey else planes


def _read_picture(path: Path, *, palette_as_colours: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read the pixels of a PNG, JPEG or BMP file, (Y, X) or (Y, X, 3 or 4), and say what is odd about it."""
    from PIL import Image, UnidentifiedImageError

    content = path.read_bytes()
    if _is_deep_colour_png(content):
        # Pillow reduces 16-bit colours to 8 bits.
        import imagecodecs

        pixels = imagecodecs.png_decode(content)
        return (pixels[..., 0] if pixels.shape[-1] == 2 else pixels), ()
    try:
        with Image.open(io.BytesIO(content)) as picture:
            mode = _plain_mode(picture, palette_as_colours)
            frames = getattr(picture, "n_frames", 1)
            only = (
                f'"{path.name}" contains {frames} images, of which only the first is read: save it as TIFF.'
            )
            pixels = np.asarray(picture if mode == picture.mode else picture.convert(mode))
            return pixels, (only,) if frames > 1 else ()
    except UnidentifiedImageError as error:
        foreign = path.suffix.lower() in FOREIGN_SUFFIXES
        what = "save it as OME-TIFF, as Fiji does" if foreign else "give PNG, JPEG, TIFF or Zarr"
        raise InputError(f'"{path}" is not an image of a known format: {what}.') from error
    except Image.DecompressionBombError as error:
        raise InputError(f'"{path}" is too big for its format: save it as tiled TIFF or OME-Zarr.') from error


def _plain_mode(picture: Image.Image, palette_as_colours: bool) -> str:
    """Return the Pillow mode that keeps a picture's values: grey, RGB, RGBA, or indices of a palette."""
    if picture.mode in ("P", "PA"):
        return "RGB" if palette_as_colours else "P"
    # "1" means bits, "LA" grey and alpha; CMYK, YCbCr, LAB and HSV are other ways to store colours.
    plain = {"1": "L", "LA": "L", "La": "L", "RGBa": "RGBA"}
    if picture.mode in plain:
        return plain[picture.mode]
    return picture.mode if picture.mode[0] in "LIFR" and picture.mode != "LAB" else "RGB"


def _is_deep_colour_png(content: bytes) -> bool:
    """Whether a PNG's header says 16 bits and more than one sample per pixel."""
    is_png = content[:8] == b"\x89PNG\r\n\x1a\n" and len(content) > 26
    return is_png and content[24] == 16 and content[25] in (2, 4, 6)
