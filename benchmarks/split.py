"""One seeded split of BBBC038 for every benchmark, by field of view.

Many images of BBBC038 are tiles cut from one larger field, so that a split by image would put neighbours of
training images into the test part. Tiles of one field are recognised by their borders, which continue
each other, and stay together. The sample images of the package, and all tiles of their fields, are never
in a test part.
"""

from __future__ import annotations

import csv
import os
import re
from collections import defaultdict
from pathlib import Path

import imageio.v3 as iio
import numpy as np
from PIL import Image
from scipy.sparse.csgraph import connected_components

from napari_cupre.io.samples import SAMPLES

TEST_SIZES = {"fluorescence": 60, "histology": 20, "brightfield": 4}
MOST_OF_ONE_FIELD = 4
"""No more tiles of one field than this go into a test part; the rest of them are used nowhere."""

BORDER_CORRELATION = 0.95
THUMBNAIL_CORRELATION = 0.95
_THUMBNAIL = (16, 16)

LABELLED = {
    "em_neurites": (3, r".*"),
    "fly_embryos": (8, r"_(\w+)-\d+_t"),
    "mushrooms": (8, r"IMG_.*-(\d\d_\d\d)_\d\d$"),
    "ore_and_pellets": (8, r"_(\d{4})_"),
    "phase_contrast_t98g": (5, r".*"),
    "sem_powder": (4, r"(Sc\dTile_\d+-\d+)"),
    "sem_spheroidite": (4, r".*"),
    "tem_nanoparticles": (8, r".*"),
}
"""How many images of each labelled set are only tested on, and what names the photograph of one."""

EVALUATION_ONLY = ("em_neurites",)
"""Never in the training of weights that ship."""

Sides = dict[str, np.ndarray]


def data_folder() -> Path:
    """Where the real images lie: `CUPRE_DATA`, or ../shared/data beside the repository."""
    return Path(os.environ.get("CUPRE_DATA", Path(__file__).parents[2] / "shared" / "data"))


def sample_ids() -> frozenset[str]:
    """Identifiers of the BBBC038 images that the package ships as samples."""
    return frozenset(info.source.split()[1] for info in SAMPLES if info.source.startswith("BBBC038"))


def bbbc038_split(root: Path | str | None = None, seed: int = 0) -> dict[str, list[str]]:
    """Split BBBC038 into what may be trained on and what is only tested on.

    Parameters
    ----------
    root : the folder with `images/`, `labels/` and `index.csv`; None for `bbbc038` in `data_folder`.
    seed : of the draw.

    Returns
    -------
    dict of image identifiers, sorted:
        ``test_fluorescence`` (60), ``test_histology`` (20), ``test_brightfield`` (4);
        ``shots_fluorescence``, ``shots_histology``, ``shots_brightfield``: may be used with labels;
        ``pretrain_unlabelled``: all shots' images, to be used without their labels;
        ``samples``: shipped with the package; ``unused``: rest of a tested field.
    """
    root = data_folder() / "bbbc038" if root is None else Path(root)
    return draw_split(bbbc038_fields(root), seed)


def labelled_split(name: str, seed: int = 0) -> tuple[list[str], list[str]]:
    """Stems to train on, and stems to test on, of a labelled set."""
    count, pattern = LABELLED[name]
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sorted((data_folder() / "labelled" / name / "images").iterdir()):
        found = re.search(pattern, path.stem)
        groups[found[found.lastindex or 0] if found else path.stem].append(path.stem)
    keys = sorted(groups)
    test: list[str] = []
    for number in np.random.default_rng(seed).permutation(len(keys)):
        if len(test) + len(groups[keys[number]]) <= count:
            test += groups[keys[number]]
    every = [stem for key in keys for stem in groups[key]]
    return sorted(set(every) - set(test)), sorted(test)


def bbbc038_fields(root: Path) -> dict[str, list[list[str]]]:
    """Identifiers by field of view, by kind of image."""
    with (root / "index.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return {
        kind: fields_of_view(root / "images", [row for row in rows if row["type"] == kind])
        for kind in TEST_SIZES
    }


def draw_split(fields_by_kind: dict[str, list[list[str]]], seed: int) -> dict[str, list[str]]:
    """Draw whole fields for the test parts; see `bbbc038_split`."""
    rng = np.random.default_rng(seed)
    samples = sample_ids()
    split: dict[str, list[str]] = defaultdict(list, samples=sorted(samples))
    for kind, fields in fields_by_kind.items():
        for number in rng.permutation(len(fields)):
            field = fields[number]
            room = TEST_SIZES[kind] - len(split[f"test_{kind}"])
            if room and not samples & set(field):
                drawn = list(rng.permutation(field)[: min(room, MOST_OF_ONE_FIELD)])
                split[f"test_{kind}"] += drawn
                split["unused"] += [identifier for identifier in field if identifier not in drawn]
            else:
                split[f"shots_{kind}"] += [identifier for identifier in field if identifier not in samples]
        split["pretrain_unlabelled"] += split[f"shots_{kind}"]
    return {part: sorted(map(str, identifiers)) for part, identifiers in split.items()}


def fields_of_view(images: Path, rows: list[dict[str, str]]) -> list[list[str]]:
    """Group images that were cut from one field, or that show the same thing twice.

    Parameters
    ----------
    images : folder of ``<id>.png``.
    rows : entries of `index.csv`.

    Returns
    -------
    Identifiers by field, in the order of the first of each.
    """
    by_size: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        by_size[row["height"], row["width"]].append(row["id"])
    fields = []
    for identifiers in by_size.values():
        sides = _sides([images / f"{identifier}.png" for identifier in identifiers])
        linked = (
            _continued(sides["right"], sides["left"])
            | _continued(sides["bottom"], sides["top"])
            | (_correlation(sides["thumbnail"], sides["thumbnail"]) > THUMBNAIL_CORRELATION)
        )
        count, numbers = connected_components(linked, directed=False)
        members = np.array(identifiers)
        fields += [members[numbers == number].tolist() for number in range(count)]
    return fields


def _sides(paths: list[Path]) -> Sides:
    """Border lines and a thumbnail of every image, one row each."""
    sides: dict[str, list[np.ndarray]] = defaultdict(list)
    for path in paths:
        with Image.open(path) as picture:
            grey = picture.convert("L")
        pixels = np.asarray(grey, np.float32)
        sides["left"].append(pixels[:, 0])
        sides["right"].append(pixels[:, -1])
        sides["top"].append(pixels[0])
        sides["bottom"].append(pixels[-1])
        thumbnail = np.asarray(grey.resize(_THUMBNAIL, Image.Resampling.BOX), np.float32)
        sides["thumbnail"].append(thumbnail.ravel())
    return {side: np.stack(lines) for side, lines in sides.items()}


def _continued(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Whether border line i of `first` continues as line j of `second`; bool (n, n)."""
    spread = np.maximum(first.std(axis=1)[:, None], second.std(axis=1)[None])
    # Two empty borders are alike by chance: there must be something that goes on.
    visible = np.minimum(first.std(axis=1)[:, None], second.std(axis=1)[None]) >= 2
    same_level = np.abs(first.mean(axis=1)[:, None] - second.mean(axis=1)[None]) < 0.2 * spread
    continued = (_correlation(first, second) > BORDER_CORRELATION) & same_level & visible
    np.fill_diagonal(continued, False)
    return continued


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return _standardised(first) @ _standardised(second).T


def _standardised(lines: np.ndarray) -> np.ndarray:
    centred = lines - lines.mean(axis=1, keepdims=True)
    return centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-9)


def read_labelled(name: str, stem: str) -> tuple[np.ndarray, np.ndarray]:
    """Image as the file has it, and label image, of BBBC038 ("bbbc038") or of a labelled set."""
    folder = data_folder() / (name if name == "bbbc038" else f"labelled/{name}")
    (path,) = (folder / "images").glob(f"{stem}.*")
    return iio.imread(path), iio.imread(folder / "labels" / f"{stem}.png").astype(np.int32)


if __name__ == "__main__":
    for part, identifiers in bbbc038_split().items():
        print(f"{part:20} {len(identifiers)}")
