"""Make the sample images of the package from the data sets that they come from.

    python tools/make_samples.py ../shared/data

Annotations of BBBC038 images are a part of its own labels: every cell that a region touches, or else
isolated cells. Those of the phase-contrast image were drawn by hand and are kept here as polygons.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from PIL import Image
from scipy import ndimage
from skimage.draw import polygon as fill_polygon

SAMPLES = Path(__file__).parents[1] / "src" / "napari_cupre" / "io" / "samples"

Corners = tuple[int, int, int, int]


@dataclass(frozen=True)
class Recipe:
    """One image of BBBC038; `region` is (top, left, bottom, right), None for `cells` isolated cells."""

    name: str
    title: str
    identifier: str
    region: Corners | None = None
    cells: int = 8


RECIPES = (
    Recipe(
        "nuclei_field",
        "Fluorescent nuclei, a field of 120",
        "ecb36c90cdd20245d89173c106f3c6a2d124d07bdea0ae202fb1efa49b0cd169",
    ),
    Recipe(
        "nuclei_clusters",
        "Fluorescent nuclei in clusters",
        "c7d546766518703580f63d5d8f11d54971044753f53c0b257d19c2f99d4bfdd0",
        region=(140, 95, 214, 205),
    ),
    Recipe(
        "nuclei_large",
        "Fluorescent nuclei, large",
        "03b9306f44e9b8951461623dcbd615550cdcf36ea93b203f2c8fa58ed1dffcbe",
        cells=4,
    ),
    Recipe(
        "tissue_violet",
        "Stained tissue, violet",
        "a31deaf0ac279d5f34fb2eca80cc2abce6ef30bd64e7aca40efe4b2ba8e9ad3d",
        region=(20, 55, 95, 125),
    ),
    Recipe(
        "tissue_pink",
        "Stained tissue, pink and violet",
        "eb1df8ed879d04b36980b0958a0e8fc446ad08c0bdcf3b5f42e3db023187c7e5",
        region=(40, 40, 100, 165),
    ),
)

PHASE_FILE = "20180101ef002xy01t01.tif"
PHASE_CROP = (slice(480, 960), slice(440, 920))
PHASE_PIXEL_UM = 0.8707951277094507
"""From the calibration tag of the original file."""

PHASE_REGION: Corners = (105, 2, 215, 165)
PHASE_CELLS = (
    "23,40 34,36 38,30 41,37 45,46 60,48 75,48 88,48 100,46 110,41 120,40 126,39 127,43 122,46 "
    "112,49 106,54 104,60 106,66 109,73 116,75 114,80 108,88 100,96 90,99 82,104 76,111 70,119 "
    "66,127 64,136 60,134 62,127 67,117 70,108 71,98 70,86 68,76 65,68 61,62 55,57 46,54 42,55 38,50 "
    "33,44 26,41",
    "91,119 97,123 101,129 110,130 118,127 123,124 123,119 128,119 129,124 136,130 138,134 141,142 "
    "147,144 146,149 142,154 144,163 148,170 153,175 149,181 151,189 154,196 159,201 156,204 151,202 "
    "148,197 145,191 143,183 138,179 131,174 125,171 117,171 111,172 105,169 101,165 95,161 89,158 "
    "88,152 88,145 92,140 90,134 86,132 88,126",
    "311,107 318,108 326,113 340,116 356,116 370,114 380,109 387,106 391,110 393,116 400,124 410,129 "
    "420,130 427,131 424,139 416,142 405,143 397,147 390,154 384,160 380,167 372,177 362,180 358,172 "
    "355,160 352,150 347,141 341,134 335,128 328,121 318,115",
    "214,240 221,237 229,234 236,229 241,228 250,229 257,233 262,240 270,247 274,253 274,262 276,269 "
    "268,273 267,281 263,284 256,281 254,275 245,266 236,260 229,255 224,251 219,246",
    "141,221 145,224 149,232 150,240 155,247 165,250 175,250 182,245 184,238 191,237 196,246 194,254 "
    "192,264 193,275 200,284 206,291 197,289 190,290 187,300 188,311 193,318 198,323 190,325 180,320 "
    "174,325 172,334 167,337 169,327 168,321 162,317 156,318 150,322 145,321 150,315 156,309 157,301 "
    "155,297 150,295 144,288 141,278 140,266 139,255 141,245 141,235",
    "277,153 274,160 270,166 269,172 273,180 279,189 286,197 292,202 299,207 289,205 287,214 293,216 "
    "300,219 306,222 300,225 292,220 285,218 276,220 262,221 250,222 238,221 228,222 220,221 212,219 "
    "205,224 192,226 189,221 197,219 206,215 216,211 222,207 216,208 205,212 193,211 194,208 204,206 "
    "214,203 228,197 238,191 244,183 252,175 261,169 267,164 272,157",
)
"""Outlines in the crop as "x,y x,y ..."."""


def make_samples(data: Path) -> None:
    """Write images, annotations, truths and `samples.json` into the package."""
    entries = [make_from_bbbc038(data / "bbbc038", recipe) for recipe in RECIPES]
    entries.append(make_phase_contrast(data / "unlabelled" / "phase_contrast_t98g"))
    (SAMPLES / "samples.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def make_from_bbbc038(folder: Path, recipe: Recipe) -> dict[str, Any]:
    """Write one sample from BBBC038; returns its entry in the list."""
    image = Image.open(folder / "images" / f"{recipe.identifier}.png")
    truth = np.asarray(Image.open(folder / "labels" / f"{recipe.identifier}.png"))
    if recipe.region is None:
        chosen = isolated_cells(truth, recipe.cells)
    else:
        top, left, bottom, right = recipe.region
        chosen = np.setdiff1d(truth[top : bottom + 1, left : right + 1], [0])
    image.save(SAMPLES / f"{recipe.name}.png", optimize=True)
    save_labels(f"{recipe.name}_truth", truth)
    save_labels(f"{recipe.name}_annotations", np.where(np.isin(truth, chosen), truth, 0))
    return entry(recipe.name, recipe.title, f"BBBC038v1 {recipe.identifier}", "CC0-1.0", "png", recipe.region)


def isolated_cells(truth: np.ndarray, count: int, gap: float = 8.0) -> np.ndarray:
    """Cells with no other within `gap` px that do not touch the border, far from each other."""
    candidates, centres = [], []
    areas = np.bincount(truth.ravel())
    typical = np.median(areas[1:][areas[1:] > 0])
    height, width = truth.shape
    for value, box in enumerate(ndimage.find_objects(truth), start=1):
        if box is None or areas[value] < typical / 2:
            continue
        rows, columns = box
        if rows.start == 0 or columns.start == 0 or rows.stop == height or columns.stop == width:
            continue
        distance = ndimage.distance_transform_edt(truth != value)
        if not ((distance <= gap) & (truth > 0) & (truth != value)).any():
            candidates.append(value)
            centres.append(ndimage.center_of_mass(truth == value))
    places = np.array(centres)
    picked = [int(np.argmin(np.linalg.norm(places - np.array(truth.shape) / 2, axis=1)))]
    while len(picked) < count:
        apart = np.linalg.norm(places[:, None] - places[picked], axis=2).min(axis=1)
        picked.append(int(np.argmax(apart)))
    return np.array(candidates)[picked]


def make_phase_contrast(folder: Path) -> dict[str, Any]:
    """Write the phase contrast sample; returns its entry in the list."""
    name = "phase_contrast"
    crop = tifffile.imread(folder / PHASE_FILE)[PHASE_CROP]
    labels = np.zeros(crop.shape, np.uint16)
    for value, outline in enumerate(PHASE_CELLS, start=1):
        corners = np.array([pair.split(",") for pair in outline.split()], float)
        labels[fill_polygon(corners[:, 1], corners[:, 0], crop.shape)] = value
    size = {"PhysicalSizeX": PHASE_PIXEL_UM, "PhysicalSizeY": PHASE_PIXEL_UM}
    tifffile.imwrite(
        SAMPLES / f"{name}.tif",
        crop,
        ome=True,
        photometric="minisblack",
        compression="zlib",
        compressionargs={"level": 9},
        predictor=True,
        metadata={"axes": "YX"} | size,
    )
    save_labels(f"{name}_annotations", labels)
    source = f"Usiigaci {PHASE_FILE}, rows 480 to 959, columns 440 to 919"
    return entry(name, "Phase contrast, glioblastoma cells", source, "MIT", "tif", PHASE_REGION)


def save_labels(name: str, labels: np.ndarray) -> None:
    """Write the annotated cells of a sample."""
    Image.fromarray(labels.astype(np.uint16)).save(SAMPLES / f"{name}.png", optimize=True)


def entry(
    name: str, title: str, source: str, licence: str, suffix: str, region: Corners | None
) -> dict[str, Any]:
    """One sample as `samples.json` lists it."""
    regions = []
    if region is not None:
        top, left, bottom, right = region
        regions.append([[top, left], [top, right], [bottom, right], [bottom, left]])
    return {
        "name": name,
        "title": title,
        "source": source,
        "licence": licence,
        "file": f"{name}.{suffix}",
        "regions": regions,
    }


if __name__ == "__main__":
    make_samples(Path(sys.argv[1]))
