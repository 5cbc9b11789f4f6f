"""Read OME-XML: which images there are, in which files, and how large their pixels are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from napari_cupre.data.axes import canonical_unit, micrometers_per
from napari_cupre.errors import InputError
from napari_cupre.io.pixel_size import Scales, positive


@dataclass(frozen=True)
class OmeImage:
    """One image of an OME document, and its place there.

    `name` comes from the microscope and may be "". `pixels` has sizes and units. `files` has the name and
    UUID of each file that contains planes of the image; it is empty if all planes are in the document's own
    file.
    """

    number: int
    name: str
    pixels: ElementTree.Element
    files: tuple[tuple[str, str], ...]

    def is_in(self, path: Path, uuid: str | None) -> bool:
        """Whether a file contains planes of the image."""
        return not self.files or any(_is_same(name, each, path, uuid) for name, each in self.files)

    def others(self, path: Path, uuid: str | None) -> list[str]:
        """Return the names of the other files that the image needs."""
        return [name for name, each in self.files if not _is_same(name, each, path, uuid)]


def _is_same(name: str, uuid: str, path: Path, own: str | None) -> bool:
    return name.lower() == path.name.lower() or (own is not None and uuid == own)


def refuse_entities(text: Any, path: Path) -> None:
    """Raise an error for XML that defines entities, which can grow to any size; no microscope writes them.

    Raises
    ------
    InputError
        If it defines entities.
    """
    if isinstance(text, str) and ("<!ENTITY" in text or "<!DOCTYPE" in text):
        raise InputError(
            f'"{path}" contains unsafe XML metadata and is not read: save it again without them.'
        )


def document_of(path: Path, xml: str) -> tuple[str | None, str]:
    """Return the OME document that describes a file, if it is in another file or must be repaired.

    Parameters
    ----------
    path : Path
        The TIFF file.
    xml : str
        The document in the file itself.

    Returns
    -------
    document : str or None
        The document to use instead of the file's own; None to use the file's own.
    missing : str
        Name of the missing metadata file, or "".
    """
    root = _parsed(xml)
    if root is None:
        return None, ""
    pointer = next((child for child in root if child.tag.endswith("BinaryOnly")), None)
    if pointer is None:
        return _of_renamed(path, root), ""
    name = pointer.get("MetadataFile", "")
    companion = path.parent / os.path.basename(name.replace("\\", "/"))
    if not name or not companion.is_file():
        found = [each for each in path.parent.glob("*.companion.ome") if _mentions(each, path.name)]
        if len(found) != 1:
            return None, name or "*.companion.ome"
        companion = found[0]
    text = _text_of(companion)
    refuse_entities(text, companion)
    return text, ""


def _mentions(companion: Path, name: str) -> bool:
    return name in companion.read_text(encoding="utf-8", errors="replace")


def _text_of(companion: Path) -> str:
    """Return the OME-XML of a metadata file, which may itself be a TIFF file."""
    if companion.name.lower().endswith((".tif", ".tiff", ".tf2", ".tf8", ".btf")):
        with tifffile.TiffFile(companion) as file:
            return file.ome_metadata or ""
    return companion.read_text(encoding="utf-8-sig", errors="replace")


def _of_renamed(path: Path, root: ElementTree.Element) -> str | None:
    """Return the document without its only file name if the file was renamed since; None otherwise."""
    references = [element for element in root.iter() if element.tag.endswith("}UUID")]
    names = {element.get("FileName", "") for element in references}
    if len(names) != 1 or os.path.exists(path.parent / next(iter(names))):
        return None
    for parent in root.iter():
        if parent.tag.endswith("}TiffData"):
            for element in list(parent):
                parent.remove(element)
    return ElementTree.tostring(root, encoding="unicode")


def _parsed(xml: str) -> ElementTree.Element | None:
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError:
        return None


def ome_images(xml: str) -> tuple[list[OmeImage], str | None]:
    """Return the images of a document, and the UUID of the file that it was made for."""
    root = _parsed(xml)
    if root is None:
        return [], None
    images: list[OmeImage] = []
    for element in root:
        if not element.tag.endswith("}Image"):
            continue
        pixels = next((child for child in element if child.tag.endswith("}Pixels")), None)
        if pixels is None:
            continue
        files: dict[tuple[str, str], None] = {}
        for child in pixels.iter():
            if child.tag.endswith("}UUID") and child.get("FileName"):
                files[(child.get("FileName", ""), (child.text or "").strip())] = None
        images.append(OmeImage(len(images), element.get("Name", ""), pixels, tuple(files)))
    return images, root.get("UUID")


def described_files(companion: Path) -> list[Path]:
    """List the image files that a companion file describes and that exist.

    Raises
    ------
    InputError
        If it is unsafe or damaged, or describes no existing file.
    """
    return [companion.parent / name for name in _present(companion, _described(companion))]


def file_of(companion: Path) -> Path:
    """Return the one file that stands for all files that a companion file describes.

    Raises
    ------
    InputError
        See `described_files`; also if it describes images in unrelated files.
    """
    images = _described(companion)
    present = _present(companion, images)
    first = present[0]
    apart = [image for image in images if image.files and first not in dict(image.files)]
    if apart:
        raise InputError(
            f'"{companion}" describes {len(images)} images in {len(present)} files: read the files one by '
            f"one, such as {first}."
        )
    return companion.parent / first


def _described(companion: Path) -> list[OmeImage]:
    text = companion.read_text(encoding="utf-8-sig", errors="replace")
    refuse_entities(text, companion)
    images, _ = ome_images(text)
    if not images:
        raise InputError(f'"{companion}" describes no image: it is truncated or damaged; copy it again.')
    return images


def _present(companion: Path, images: Sequence[OmeImage]) -> list[str]:
    """Return the names of the images' files that exist, each once."""
    names = dict.fromkeys(
        os.path.basename(name.replace("\\", "/")) for image in images for name, _ in image.files
    )
    found = [name for name in names if (companion.parent / name).is_file()]
    if not found:
        raise InputError(f'"{companion}" describes image files that are missing: copy them into its folder.')
    return found


def missing_files(image: OmeImage, path: Path, uuid: str | None) -> list[str]:
    """Return the names of the files that are missing from a set."""
    return [name for name in dict.fromkeys(image.others(path, uuid)) if not (path.parent / name).is_file()]


def what_is_missing(path: Path, missing: Sequence[str], total: int) -> str:
    """Return one sentence about a set with missing files."""
    of = f"{len(missing)} of the {total} files of its set"
    return f'"{path.name}" needs {of}, such as {missing[0]}, which are missing: copy them into its folder.'


def ome_scales(pixels: ElementTree.Element) -> Scales:
    """Read PhysicalSize, TimeIncrement and the position of the first plane of an image."""
    scale: dict[str, float] = {}
    translate: dict[str, float] = {}
    units: dict[str, str] = {}
    plane = next((element for element in pixels if element.tag.endswith("}Plane")), None)
    for axis in "ZYX":
        size = positive(pixels.get(f"PhysicalSize{axis}"))
        if size is None:
            continue
        scale[axis], units[axis] = size, canonical_unit(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        position = None if plane is None else plane.get(f"Position{axis}")
        if position is not None and plane is not None:
            unit = canonical_unit(plane.get(f"Position{axis}Unit"))
            translate[axis] = float(position) * _ratio(unit, units[axis])
    for known, other in ("XY", "YX"):
        if known in scale and other not in scale:  # pixels are square unless both sides are given
            scale[other], units[other] = scale[known], units[known]
    interval = positive(pixels.get("TimeIncrement"))
    if interval is not None:
        scale["T"], units["T"] = interval, canonical_unit(pixels.get("TimeIncrementUnit", "s"))
    return scale, translate, units


def _ratio(unit: str, other: str) -> float:
    """Return how many of `other` one `unit` is; 1 if one of them is not a length."""
    first, second = micrometers_per(unit), micrometers_per(other)
    return first / second if first and second else 1.0
