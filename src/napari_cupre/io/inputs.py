"""Find what a command reads: the images in its files, each once, without label files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from napari_cupre.errors import InputError
from napari_cupre.io.files import TIFF_SUFFIXES, foreign_images, list_images, split_scene
from napari_cupre.io.images import scenes
from napari_cupre.io.ownership import results_among
from napari_cupre.io.pairing import labels_notice, without_labels
from napari_cupre.io.scenes import choose_scenes, list_names
from napari_cupre.words import counted, some_of

CHOOSE = "(--series chooses one)."
"""Added to the notice that all images of a file are read; only useful on the command line."""


@dataclass
class Inputs:
    """Images to read, and what the user should know about them.

    A path may name a scene ("a.ome.tif/well1"); `read_image` takes it. Each notice is one sentence about
    files of several images, sets of files, or what is left out.
    """

    paths: list[Path] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def find_inputs(
    given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    series: str | int | None = None,
    *,
    subfolders: bool = False,
) -> Inputs:
    """Find the images behind folders, globs and files that are to be predicted or measured.

    Label files beside their images and results of this package are left out unless they are named one by one.
    A file with two names is read once. Each image of a file of several counts by itself.

    Parameters
    ----------
    given : str or os.PathLike[str] or Iterable[str | os.PathLike[str]]
        Folders, globs, files.
    series : str or int or None, optional
        Name or number of the image to take from each file of several; "all" also takes labels and thumbnails
        of slides; None takes all other images.
    subfolders : bool, optional
        See `list_images`.

    Returns
    -------
    Inputs

    Raises
    ------
    InputError
        See `list_images`; also if nothing is left.
    """
    paths = [given] if isinstance(given, str | os.PathLike) else list(given)
    files = list_images(paths, subfolders=subfolders)
    named = [file for file in files if any(Path(path).expanduser() == file for path in paths)]
    results = set(results_among(files)) - set(named)
    kept, labels = without_labels([file for file in files if file not in results], named)
    if not kept:
        raise InputError(_results_notice(results))
    foreign = foreign_images(paths, kept)
    inputs = expand(_once(kept, notices := []), series)
    inputs.paths += foreign  # reading reports that they cannot be read
    if labels:
        notices.append(labels_notice(labels))
    if results:
        notices.append(_results_notice(results))
    inputs.notices[:0] = notices
    return inputs


def _results_notice(results: Collection[Path]) -> str:
    """Return one sentence about results among the images."""
    files = counted(len(results), "file is a result", "files are results")
    return (
        f"{files} of napari-cupre and left out, such as {min(results).name}; give such a file by name to "
        f"read it."
    )


def _once(files: Sequence[Path], notices: list[str]) -> list[Path]:
    """Drop files that are links to another of the files."""
    seen: dict[str, Path] = {}
    for file in files:
        first = seen.setdefault(os.path.realpath(file), file)
        if first != file:
            notices.append(f'"{file}" is a link to "{first}", which is read once.')
    return list(seen.values())


def expand(files: Sequence[Path], series: str | int | None = None, *, join_sets: bool = True) -> Inputs:
    """Replace each file by the images in it.

    Parameters
    ----------
    files : Sequence[Path]
        Image files, Zarr folders, or scenes.
    series : str or int or None, optional
        See `find_inputs`. A file without such an image stays, so that reading it reports the error.
    join_sets : bool, optional
        Files that together form one image (OME-TIFF) count once; the first stands for them.
    """
    inputs = Inputs()
    sets: dict[tuple[str, ...], Path] = {}
    joined: dict[Path, list[str]] = {}
    for file in files:
        inputs.paths += _images_of(file, series, sets if join_sets else {}, joined, inputs.notices)
    for first, others in joined.items():
        inputs.notices.append(
            f'"{first.name}" and {some_of(others, 3)} are parts of one image: it is read once, as '
            f'"{first.name}".'
        )
    return inputs


def images_in(file: Path) -> list[Path]:
    """List the images of one file: the file itself, or each scene that is neither label nor thumbnail.

    Parameters
    ----------
    file : Path
        An image file or a Zarr folder; one that cannot be read counts as one image, so that reading it
        reports the error.
    """
    return expand([file], join_sets=False).paths


def _images_of(
    file: Path,
    series: str | int | None,
    sets: dict[tuple[str, ...], Path],
    joined: dict[Path, list[str]],
    notices: list[str],
) -> list[Path]:
    place, scene = (file, "") if os.path.exists(file) else split_scene(file)
    if scene or not (place.is_dir() or place.suffix.lower() in TIFF_SUFFIXES):
        return [file] if series is None or scene else _of_one(file, series)
    try:
        found = scenes(place)
        chosen = choose_scenes(found, series, place.name)
    except InputError:
        name = str(series) if place.is_dir() else str(series).replace("/", "_")
        return [file] if series is None else [file / name]
    main = [each for each in found if not each.is_extra]
    kept = []
    for each in chosen:
        first = file if each.identity is None else sets.setdefault(each.identity, file)
        if first == file:
            kept.append(each)
        elif file.name not in joined.setdefault(first, []):
            joined[first].append(file.name)
    if len(main) > 1 and series is None and kept:
        notices.append(
            f'"{place.name}" contains {len(main)} images, which are all read: {list_names(main)} {CHOOSE}'
        )
    absent = _absent(place) if series is None else []
    alone = not absent and (len(found) == 1 or (len(main) == 1 and kept == main))
    paths = [file] * len(kept) if alone else [file / each.name for each in kept]
    return paths + absent


def _absent(place: Path) -> list[Path]:
    """List images that a plate names but does not contain, so that reading them reports the error."""
    if not place.is_dir():
        return []
    # Zarr takes long to import, and most users never need it.
    from napari_cupre.io.omezarr import absent_images

    return [place / name for name in absent_images(place)]


def _of_one(file: Path, series: str | int) -> list[Path]:
    """List the images of a picture, which has one: number 0, or "all"."""
    return [file] if str(series).lower() in ("0", "all") else [file / str(series)]
