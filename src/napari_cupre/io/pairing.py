"""Which label file belongs to which image, told by their names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from napari_cupre.errors import InputError
from napari_cupre.io.files import LABEL_ENDINGS, image_stem, split_scene

LABEL_WORDS = ("mask", "label", "seg", "instances", "gt")
"""One of these is in the name of every file that is named like labels."""
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
    one ("mask_a.png"), and both may tell what they are ("a_img.png" and "a_masks.png", "img_1.png" and
    "mask_1.png"). Both lists may come from one folder: files with a label's name are then labels, the others
    images. A single image and a single label file belong together whatever their names.

    Parameters
    ----------
    images, labels : Sequence[str | os.PathLike[str]]
        Paths of files, or of scenes in them ("a.ome.tif/well1").

    Returns
    -------
    list of (image, label file)
        In the order of the images; images and labels without partner are left out.

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
    pairs = []
    for image in image_paths:
        matches = next((by_name[key] for key in _image_keys(image) if key in by_name), [])
        if len(matches) > 1:
            raise InputError(
                f'Two label files match the image "{image.name}": remove "{matches[0]}" or "{matches[1]}".'
            )
        pairs += [(image, match) for match in matches]
    if not pairs:
        raise InputError(
            f"No label file matches an image: use the same names, e.g. a.tif and a_mask.png "
            f"(images: {_listed(image_paths)}; labels: {_listed(label_paths)})."
        )
    return pairs


def _is_label_file(path: Path) -> bool:
    """Whether a file that may be image or labels is labels: by its name, or as it has its own in it."""
    return label_core(path) is not None or (path / "labels").is_dir()


def label_core(path: Path) -> str | None:
    """The stem of the image that a label file belongs to, by its name; None if it has no label's name."""
    return _core(path, LABEL_ENDINGS, _LABEL_BEGINNINGS)


def without_labels(images: Sequence[Path], named: Sequence[Path] = ()) -> tuple[list[Path], list[Path]]:
    """Tell images from label files that lie beside them.

    Parameters
    ----------
    images : Sequence[Path]
        What folders and globs hold.
    named : Sequence[Path], optional
        Files that the user named one by one, which stay whatever they are called.

    Returns
    -------
    (images, label files) : a file is a label if its name says so and the image is there, in the same folder.
    """
    cores = {
        (path.parent, key) for path in images if label_core(path) is None for _, key in _image_keys(path)
    }
    kept: list[Path] = []
    labels: list[Path] = []
    for path in images:
        core = label_core(path)
        is_label = core is not None and (path.parent, core) in cores and path not in named
        (labels if is_label else kept).append(path)
    return kept, labels


def labels_notice(labels: Sequence[Path]) -> str:
    """One sentence on label files that were left out, for the user."""
    some = f"{len(labels)} files are" if len(labels) > 1 else "1 file is"
    return (
        f"{some} named like labels of the images beside them and left out, such as {labels[0].name}; "
        f"give such a file by name to read it."
    )


# An exact name goes before one without its ending, which goes before one without the ending of the image.
def _image_keys(path: Path) -> Iterator[tuple[int, str]]:
    stem = image_stem(path)
    yield 0, stem
    yield 1, stem
    core = _core(path, _IMAGE_ENDINGS, _IMAGE_BEGINNINGS)
    if core is not None:
        yield 0, core
        yield 1, core
    label = label_core(path)
    if label is not None:  # truth and prediction may both have a label's name
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
    """A stem without what tells images from labels, None without such a part."""
    file, scene = split_scene(path)
    stem = image_stem(file)
    lower = stem.lower()
    core = next((stem[: -len(end)] for end in endings if lower.endswith(end) and len(stem) > len(end)), None)
    if core is None:
        core = next((stem[length:] for begin in beginnings if (length := _begins(lower, begin))), None)
    return core if core is None or not scene else f"{core}_{scene.replace('/', '_')}"


def _begins(stem: str, beginning: str) -> int:
    """How much of a stem a beginning takes up; in front of a number it need not end in a mark ("mask7")."""
    word = beginning.rstrip("_-")
    if stem.startswith(beginning) and len(stem) > len(beginning):
        return len(beginning)
    return len(word) if stem.startswith(word) and stem[len(word) : len(word) + 1].isdecimal() else 0


def _listed(paths: Sequence[Path], limit: int = 5) -> str:
    names = ", ".join(path.name for path in paths[:limit]) or "none"
    return f"{names} and {len(paths) - limit} more" if len(paths) > limit else names
