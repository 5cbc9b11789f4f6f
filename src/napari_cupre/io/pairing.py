"""Find which label file belongs to which image, by their names."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from napari_cupre.errors import InputError
from napari_cupre.io.files import LABEL_ENDINGS, image_stem, split_scene
from napari_cupre.words import some_of

LABEL_WORDS = ("mask", "label", "lbl", "seg", "instance", "annotation", "gt", "object identities")
"""Every file that is named like labels has one of these in its name."""
_LABEL_BEGINNINGS = tuple(
    f"{word}{mark}" for word in ("masks", "mask", "labels", "label", "seg", "gt") for mark in "_-"
)
_IMAGE_ENDINGS = ("_img", "_image", "_images", "_raw", "_im", "-img", "-image", "-raw")
_IMAGE_BEGINNINGS = tuple(
    f"{word}{mark}" for word in ("images", "image", "img", "raw", "im") for mark in "_-"
)


def pair_by_stem(
    images: Sequence[str | os.PathLike[str]], labels: Sequence[str | os.PathLike[str]]
) -> list[tuple[Path, Path]]:
    """Pair images with their label files by the stem of the name.

    A label file may append one of `LABEL_ENDINGS` to the stem ("a_mask.png" belongs to "a.tif") or begin with
    one ("mask_a.png"). Images may be marked, too ("a_img.png" and "a_masks.png", "img_1.png" and
    "mask_1.png"). Both lists may come from one folder: then files named like labels are labels, the others
    images. A single image and a single label file belong together whatever their names. If nothing else
    pairs, capital letters are ignored, and so is what all images or all label files have in common
    ("t001.tif" and "man_seg001.tif"); `pair_notice` reports it.

    Parameters
    ----------
    images, labels : Sequence[str | os.PathLike[str]]
        Paths of files, or of scenes in them ("a.ome.tif/well1").

    Returns
    -------
    list of tuple of Path
        Images with their label files, in the order of the images; images without a label file are left out.

    Raises
    ------
    InputError
        If nothing pairs (unpaired names are listed), or two label files fit one image.
    """
    label_paths = [Path(label) for label in labels]
    image_paths = [Path(image) for image in images]
    shared = set(label_paths) & set(image_paths)
    image_paths = [path for path in image_paths if path not in shared or label_core(path) is None]
    label_paths = [path for path in label_paths if path not in shared or _is_label_file(path)]
    if len(image_paths) == len(label_paths) == 1:
        return [(image_paths[0], label_paths[0])]
    by_name: dict[tuple[int, str], list[Path]] = {}
    for path in label_paths:
        for key in _label_keys(path):
            by_name.setdefault(key, []).append(path)
    found = {}
    for image in image_paths:
        matches = next((by_name[key] for key in _image_keys(image) if key in by_name), [])
        if len(matches) > 1:
            raise InputError(
                f'Two label files match the image "{image.name}": remove "{matches[0]}" or "{matches[1]}".'
            )
        if matches:
            found[image] = matches[0]
    found |= _pair_without_capitals(image_paths, label_paths, found)
    found = found or _pair_by_what_differs(image_paths, label_paths)
    pairs = [(image, found[image]) for image in image_paths if image in found]
    if not pairs:
        raise InputError(
            f"No label file matches an image: use the same names, e.g. a.tif and a_mask.png "
            f"(images: {_listed(image_paths)}; labels: {_listed(label_paths)})."
        )
    return pairs


def pair_notice(pairs: Sequence[tuple[Path, Path]]) -> str:
    """Return one sentence about pairs whose names do not clearly belong together, or ""."""
    others = [
        (image, label) for image, label in pairs if not set(_image_keys(image)) & set(_label_keys(label))
    ]
    if len(pairs) < 2 or not others:
        return ""
    image, label = others[0]
    return (
        f'"{image.name}" is paired with "{label.name}" by what differs in the names'
        f"{f', and {len(others) - 1} more likewise' if len(others) > 1 else ''}."
    )


def _pair_without_capitals(
    images: Sequence[Path], labels: Sequence[Path], found: Mapping[Path, Path]
) -> dict[Path, Path]:
    """Find further pairs whose names differ only in capital letters."""
    by_name: dict[tuple[int, str], list[Path]] = {}
    for label in set(labels) - set(found.values()):
        for rank, name in _label_keys(label):
            by_name.setdefault((rank, name.casefold()), []).append(label)
    taken: dict[Path, list[Path]] = {}
    for image in images:
        keys = [(rank, name.casefold()) for rank, name in _image_keys(image)]
        matches = next((by_name[key] for key in keys if key in by_name), [])
        if image not in found and len(matches) == 1:
            taken.setdefault(matches[0], []).append(image)
    return {those[0]: label for label, those in taken.items() if len(those) == 1}


def _pair_by_what_differs(images: Sequence[Path], labels: Sequence[Path]) -> dict[Path, Path]:
    """See `stems_by_what_differs`."""
    of_image, of_label = ({image_stem(path): path for path in paths} for paths in (images, labels))
    if len(of_image) < len(images) or len(of_label) < len(labels):
        return {}
    pairs = stems_by_what_differs(list(of_image), list(of_label))
    return {of_image[image]: of_label[label] for image, label in pairs.items()}


def stems_by_what_differs(images: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Pair names by the part that is left without what all names of the same list have in common.

    Nothing is paired unless every label is, or if the common parts contain contradicting numbers.

    Parameters
    ----------
    images, labels : Sequence[str]
        Stems of images, and of their label files.

    Returns
    -------
    dict of str to str
        The stem of the label file by the stem of its image.

    Examples
    --------
    >>> stems_by_what_differs(["t001", "t002", "t003"], ["man_seg001", "man_seg003"])
    {'t001': 'man_seg001', 't003': 'man_seg003'}
    """
    if min(len(images), len(labels)) < 2:
        return {}
    (first, last), (begin, end) = _common(images), _common(labels)
    if re.findall(r"\d+", f"{first} {last}") != re.findall(r"\d+", f"{begin} {end}"):
        return {}
    by_core = {stem[len(first) : len(stem) - len(last)]: stem for stem in images}
    cores = [stem[len(begin) : len(stem) - len(end)] for stem in labels]
    if len(by_core) < len(images) or len(set(cores)) < len(cores) or not set(cores) <= set(by_core):
        return {}
    return {by_core[core]: label for core, label in zip(cores, labels)}


def _common(stems: Sequence[str]) -> tuple[str, str]:
    """Return the beginning and the end that all names share, in whole words and numbers."""
    parts = [re.findall(r"\d+|[^\W\d_]+|[\W_]", stem) for stem in stems]
    first = _beginning(parts)
    last = _beginning([each[len(first) :][::-1] for each in parts])[::-1]
    return "".join(first), "".join(last)


def _beginning(parts: Sequence[Sequence[str]]) -> list[str]:
    """Return the beginning that all sequences share."""
    return [each[0] for each in itertools.takewhile(lambda each: len(set(each)) == 1, zip(*parts))]


def _is_label_file(path: Path) -> bool:
    """Whether a file is labels: by its name, or because a Zarr contains labels."""
    return label_core(path) is not None or (path / "labels").is_dir()


def label_core(path: Path) -> str | None:
    """Return the stem of a label file's image; None if the file is not named like labels."""
    return _core(path, LABEL_ENDINGS, _LABEL_BEGINNINGS)


def without_labels(images: Sequence[Path], named: Sequence[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Separate images from label files that lie beside them.

    Parameters
    ----------
    images : Sequence[Path]
        Files from folders and globs.
    named : Sequence[Path], optional
        Files that the user named one by one; they stay whatever they are called.

    Returns
    -------
    images, label_files : list of Path
        A file is a label file if its name says so and its image is in the same folder; "a_nuclei_mask.tif" is
        one of "a.tif".
    """
    cores = {
        (path.parent, key) for path in images if label_core(path) is None for _, key in _image_keys(path)
    }
    kept: list[Path] = []
    labels: list[Path] = []
    for path in images:
        core = label_core(path)
        is_label = path not in named and any((path.parent, name) in cores for name in _shortened(core))
        (labels if is_label else kept).append(path)
    return kept, labels


def _shortened(core: str | None) -> Iterator[str]:
    """Return a stem, and the stem without its last words: "a" for "a_nuclei"."""
    if core is not None:
        yield core
        for mark in reversed(list(re.finditer(r"[_. -]+", core))):
            yield core[: mark.start()]


def labels_notice(labels: Sequence[Path]) -> str:
    """Return one sentence for the user about label files that were left out."""
    some = f"{len(labels)} files are" if len(labels) > 1 else "1 file is"
    return (
        f"{some} named like labels of the images beside them and left out, such as {labels[0].name}; "
        f"give such a file by name to read it."
    )


# An exact name comes first, then a name without its label ending, then without the image's ending.
def _image_keys(path: Path) -> Iterator[tuple[int, str]]:
    stem = image_stem(path)
    yield 0, stem
    yield 1, stem
    core = _core(path, _IMAGE_ENDINGS, _IMAGE_BEGINNINGS)
    if core is not None:
        yield 0, core
        yield 1, core
    label = label_core(path)
    if label is not None:  # truth and prediction may both be named like labels
        yield 0, label
        yield 1, label
        yield 2, label
    else:
        yield 2, stem


def _label_keys(path: Path) -> Iterator[tuple[int, str]]:
    yield 0, image_stem(path)
    core = label_core(path)
    if core is not None:
        yield 1, core
    image = _core(path, _IMAGE_ENDINGS, _IMAGE_BEGINNINGS)
    if image is not None:  # what was predicted from "a_img.png"
        yield 2, image


def _core(path: Path, endings: Sequence[str], beginnings: Sequence[str]) -> str | None:
    """Return a stem without the part that marks images or labels; None if it has no such part."""
    file, scene = split_scene(path)
    stem = image_stem(file)
    lower = stem.lower()
    core = next((stem[: -len(end)] for end in endings if lower.endswith(end) and len(stem) > len(end)), None)
    if core is None:
        core = next((stem[length:] for begin in beginnings if (length := _begins(lower, begin))), None)
    return core if core is None or not scene else f"{core}_{scene.replace('/', '_')}"


def _begins(stem: str, beginning: str) -> int:
    """Return the length of a beginning in a stem; before a number it needs no separator ("mask7")."""
    word = beginning.rstrip("_-")
    if stem.startswith(beginning) and len(stem) > len(beginning):
        return len(beginning)
    return len(word) if stem.startswith(word) and stem[len(word) : len(word) + 1].isdecimal() else 0


def _listed(paths: Sequence[Path]) -> str:
    return some_of([path.name for path in paths]) or "none"
