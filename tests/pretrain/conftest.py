"""Small worlds to pretrain in: a folder of drawn fields without labels, and settings that run in seconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest

from napari_cupre.data.synthetic import SyntheticFields
from napari_cupre.pretrain.settings import PretrainSettings


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
