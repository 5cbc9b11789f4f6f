"""Any COCO-format JSON as a labelled set: images with label images, known area and classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from napari_cupre.data.sample import Sample
from napari_cupre.errors import InputError
from napari_cupre.io.coco_index import CocoImage, CocoIndex
from napari_cupre.io.file_names import NameTable, parts_of
from napari_cupre.io.images import read_image
from napari_cupre.io.inputs import expand
from napari_cupre.io.lru import Recent
from napari_cupre.io.windows import image_sizes


class CocoSource:
    """The labelled images of a COCO-format JSON.

    It holds only an index and can be sent to loader workers; each item is read from its files.

    Parameters
    ----------
    json_path : str or os.PathLike[str]
        Polygons, compressed and uncompressed run lengths, crowd regions, several categories.
    images_dir : str or os.PathLike[str]
        Folder of the images; files that are not where `file_name` says are searched for by name in its
        subfolders.
    max_bytes : int, optional
        Bytes of decoded images that are kept for the next time; by default only the last image.

    Attributes
    ----------
    categories : tuple[str, ...]
        Names of the classes.
    notices : list[str]
        What was left out and why, one sentence each.

    Raises
    ------
    InputError
        No COCO JSON, no such folder, or no annotated image found.
    """

    def __init__(
        self, json_path: str | os.PathLike[str], images_dir: str | os.PathLike[str], max_bytes: int = 0
    ) -> None:
        self.images_dir = Path(images_dir)
        if not self.images_dir.is_dir():
            raise InputError(f'There is no folder "{images_dir}": check the path.')
        self.index = CocoIndex(Path(json_path))
        files = FileFinder(self.images_dir)
        found = [files.find(image.file_name) for image in self.index.images]
        self._items, missing = with_files(self.index, found, images_dir)
        self.categories = self.index.categories
        self.notices = [*self.index.notices, *missing]
        self._recent: Recent[int, Sample] = Recent(max_bytes)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, number: int) -> Sample:
        """Read one image and paint its labels; the arrays cannot be written to.

        The image is normalised by percentiles, all colours jointly, like every image that the network sees,
        photographs included. Where instances overlap, the smaller one is on top; crowd regions and boxes
        without a mask are unknown.

        Raises
        ------
        InputError
            A damaged image or mask, or an image of another size than the JSON says.
        """
        return self._recent.get(number, lambda: self._read(number), _size_of)

    def _read(self, number: int) -> Sample:
        entry, path = self._items[number]
        expected = self.index.images[entry]
        image = read_image(scene_for(path, expected))
        if expected.has_size and image.plane_shape != (expected.height, expected.width):
            raise InputError(
                f'"{path}" has {image.plane_shape} pixels, but "{self.index.path}" says '
                f"{(expected.height, expected.width)}: give the images that it was made for."
            )
        painted = self.index.paint(entry, image.plane_shape)
        classes = {label: self.categories[number - 1] for label, number in painted.classes.items()}
        sample = Sample(image.normalised(), painted.labels, painted.known, classes)
        for array in (sample.image, sample.labels, sample.known):
            array.flags.writeable = False  # it may be returned again
        return sample


def _size_of(sample: Sample) -> int:
    return sample.image.nbytes + sample.labels.nbytes + sample.known.nbytes


def with_files(
    index: CocoIndex, files: Sequence[Path | None], where: str | os.PathLike[str]
) -> tuple[list[tuple[int, Path]], list[str]]:
    """List the images of a JSON that have a file, with a sentence about the others.

    Parameters
    ----------
    index : CocoIndex
        Of the JSON.
    files : Sequence[Path or None]
        The file of each of its images, None where there is none.
    where : str or os.PathLike[str]
        Where they were looked for.

    Returns
    -------
    found : list of tuple
        Positions in `index.images` with their files.
    notices : list of str
        At most one sentence about the others.

    Raises
    ------
    InputError
        If none has a file.
    """
    found = [(number, path) for number, path in enumerate(files) if path is not None]
    missing = [image.file_name for image, path in zip(index.images, files) if path is None]
    if not found:
        raise InputError(
            f'None of the {len(files)} images that "{index.path}" annotates (such as "{missing[0]}") is in '
            f'"{where}": give the folder that contains them.'
        )
    if not missing:
        return found, []
    return found, [
        f'{len(missing)} of the {len(files)} images that "{index.path}" annotates are not in "{where}", '
        f"such as {missing[0]}; the others are used."
    ]


def scene_for(path: Path, expected: CocoImage, series: str | int | None = None) -> Path:
    """Find the image that an entry of a JSON means in a file of several: the only one of its size.

    Parameters
    ----------
    path : Path
        The file; one with a single image is meant as it is.
    expected : CocoImage
        The entry.
    series : str or int or None, optional
        Name or number of the image, which overrules the size.

    Raises
    ------
    InputError
        If none or several fit.
    """
    found = expand([path], series, join_sets=False).paths
    if len(found) == 1:
        return found[0]
    sizes = {each: image_sizes(each)[0] for each in found}
    fitting = [each for each, size in sizes.items() if size == (expected.height, expected.width)]
    if len(fitting) != 1:
        raise InputError(
            f'"{path}" contains {len(found)} images, and nothing says which one "{expected.file_name}" is: '
            f"choose one with --series, or save that image as a file of its own."
        )
    return fitting[0]


class FileFinder:
    """Find image files in a folder by the names that a JSON gives them.

    Names may be paths of any system, or URLs. A file that is not where its name says is looked for in all
    subfolders: LIVECell, for example, keeps a folder for each cell type, and its JSON names only the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with os.scandir(folder) as entries:
            self._direct = NameTable({entry.name: folder / entry.name for entry in entries})

    def find(self, file_name: str) -> Path | None:
        """Return the path of a file; None if none or several files fit the name."""
        parts = parts_of(file_name)
        if not parts:
            return None
        if len(parts) == 1 and (direct := self._direct.get(parts[0])) is not None:
            return direct
        if len(parts) > 1 and self.folder.joinpath(*parts).is_file():
            return self.folder.joinpath(*parts)
        found = [path for path in self._by_name.get(parts[-1]) or () if path.is_file()]
        depth = 1
        while len(found) > 1 and depth < len(parts):
            depth += 1
            nearer = [path for path in found if path.parts[-depth:] == parts[-depth:]]
            if not nearer:
                return None
            found = nearer
        return found[0] if len(found) == 1 else None

    @cached_property
    def _by_name(self) -> NameTable[list[Path]]:
        by_name: dict[str, list[Path]] = {}
        for folder, _, files in os.walk(self.folder):
            for file in files:
                by_name.setdefault(file, []).append(Path(folder) / file)
        return NameTable(by_name)
