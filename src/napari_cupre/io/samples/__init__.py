"""The sample images that come with the package, each with a few annotations.

`samples.json` beside this file says what each one is and where it comes from; `README.md` and
`LICENSE-samples.txt` are for people. `tools/make_samples.py` makes the files.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.annotation import shots_from_image
from napari_cupre.data.image import CellImage
from napari_cupre.data.shot import Shot
from napari_cupre.errors import InputError
from napari_cupre.io.images import read_image, read_labels

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class SampleInfo:
    """What is known about a sample image without reading it.

    `source` is the data set and the identifier of the original image, `licence` that of image and labels.
    `regions` are polygons (n, 2) in pixel (y, x) in which every cell is annotated.
    """

    name: str
    title: str
    source: str
    licence: str
    file: str
    regions: tuple[tuple[tuple[float, float], ...], ...]


@dataclass
class SampleImage:
    """A sample image with its annotations.

    Attributes
    ----------
    info : SampleInfo
        Name, origin and licence.
    image : CellImage
        The image with its scale.
    annotations : numpy.ndarray
        int32 (Y, X), a few annotated cells, 0 elsewhere.
    regions : list[numpy.ndarray]
        Polygons (n, 2) in pixel (y, x) in which every cell is annotated; may be empty.
    truth : numpy.ndarray or None
        int32 (Y, X), every cell as experts drew it; None if nobody did.
    """

    info: SampleInfo
    image: CellImage
    annotations: np.ndarray
    regions: list[np.ndarray]
    truth: np.ndarray | None

    def shot(self) -> Shot:
        """Return the annotated image, ready for training."""
        return next(shots_from_image(self.image, self.annotations, regions=self.regions))


def _read_listing() -> tuple[SampleInfo, ...]:
    entries: list[dict[str, Any]] = json.loads((_FOLDER / "samples.json").read_text(encoding="utf-8"))
    return tuple(
        SampleInfo(**entry | {"regions": tuple(tuple(map(tuple, polygon)) for polygon in entry["regions"])})
        for entry in entries
    )


SAMPLES: tuple[SampleInfo, ...] = _read_listing()
"""All sample images, the simplest first."""


def load_sample(name: str) -> SampleImage:
    """Load a sample image by its name.

    Raises
    ------
    InputError
        There is no sample with that name.
    """
    info = next((info for info in SAMPLES if info.name == name), None)
    if info is None:
        raise InputError(
            f'There is no sample image "{name}": choose from {", ".join(i.name for i in SAMPLES)}.'
        )
    truth = _FOLDER / f"{name}_truth.png"
    image = read_image(_FOLDER / info.file)
    image.name = name
    return SampleImage(
        info=info,
        image=image,
        annotations=read_labels(_FOLDER / f"{name}_annotations.png"),
        regions=[np.array(polygon) for polygon in info.regions],
        truth=read_labels(truth) if truth.exists() else None,
    )
