"""Small worlds to pretrain in: a folder of drawn fields without labels, and settings that run in seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from napari_cupre.io.coco import CocoSource
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.synthetic import SyntheticFields


def _write_images(folder: Path, count: int, side: int = 96) -> None:
    fields = SyntheticFields(size=side, seed=7, diameter=(10.0, 16.0))
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        image = (np.clip(fields[number].image, 0, 1) * 255).astype(np.uint8)
        iio.imwrite(folder / f"{number:03}.png", image if number % 2 else image[..., 0])


@pytest.fixture(scope="session")
def unlabelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve 8-bit images, half of them grey and half colour."""
    folder = tmp_path_factory.mktemp("unlabelled")
    _write_images(folder, 12)
    return folder


@pytest.fixture
def small(unlabelled: Path) -> Callable[..., PretrainSettings]:
    """Settings of a run of seconds, with changes."""

    def make(**changes: Any) -> PretrainSettings:
        values: dict[str, Any] = dict(
            synthetic=1.0,
            unlabelled=(str(unlabelled),),
            preset="tiny",
            iterations=4,
            batch=2,
            crop=64,
            source_groups=2,
            contrastive_batch=4,
            view=32,
            context=40,
            bn_splits=2,
            dim=16,
            warmup=2,
            contrastive_warmup=2,
            cosine_every=2,
            validate_every=0,
            log_every=1,
            workers=0,
            device="cpu",
            precision="32-true",
        )
        return PretrainSettings(**{**values, **changes})

    return make


def annotation(number: int, category: int, box: tuple[int, int, int, int], crowd: int) -> dict[str, object]:
    """A rectangle; as a polygon, or as the run lengths of a crowd."""
    x, y, width, height = box
    segmentation: object = [[x, y, x + width, y, x + width, y + height, x, y + height]]
    if crowd:
        mask = np.zeros((120, 160), np.uint8)
        mask[y : y + height, x : x + width] = 1
        edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
        segmentation = {"size": [120, 160], "counts": np.diff([0, *edges, mask.size]).tolist()}
    return {
        "image_id": number,
        "category_id": category,
        "bbox": list(box),
        "area": width * height,
        "iscrowd": crowd,
        "segmentation": segmentation,
    }


@pytest.fixture
def coco(tmp_path: Path) -> CocoSource:
    """Four images with a cat, a dog and a crowd of dogs each; the fourth image's file is broken."""
    images, annotations = [], []
    for number in range(1, 5):
        pixels = np.full((120, 160, 3), 30 * number, np.uint8)
        pixels[20:60, 20:70] = (200, 80, 40)
        iio.imwrite(tmp_path / f"{number}.png", pixels)
        images.append({"id": number, "file_name": f"{number}.png", "height": 120, "width": 160})
        annotations += [
            annotation(number, 3, (20, 20, 50, 40), 0),
            annotation(number, 7, (90, 50, 30, 30), 0),
            annotation(number, 7, (100, 90, 50, 25), 1),
        ]
    document = {
        "images": images,
        "annotations": [{"id": n, **entry} for n, entry in enumerate(annotations, start=1)],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    (tmp_path / "4.png").write_bytes(b"broken")
    return CocoSource(tmp_path / "coco.json", tmp_path)
