"""A small fixed job costs what it cost: counted, not timed, so that no busy machine matters.

A figure that grows by more than a fifth fails. Where something got cheaper, write the new figure here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from counting import Work, counted

from napari_cupre.finetuning.finetune_optimiser import make_optimiser
from napari_cupre.finetuning.judge import hold_batchnorm, to_batch
from napari_cupre.model import checkpoint
from napari_cupre.model.checkpoint import Model
from napari_cupre.model.engine import TorchEngine
from napari_cupre.model.targets import target_from_labels
from napari_cupre.model.zoo import open_model
from napari_cupre.prediction.detector import Detector
from napari_cupre.prediction.plane import predict_plane
from napari_cupre.synthetic import draw_field

SIDE = 256
MOST = 1.2


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    # In float32 on every processor: what bfloat16 saves is the processor's doing.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "prediction_dtype", lambda device: None)
        yield open_model("cupre", "cpu")


def within(work: Work, operators: int, products: float, megabytes: float) -> None:
    """Check that nothing of the work is more than a fifth above what it was, nor far below."""
    found = (work.operators, work.products / 1e9, work.allocated / 1e6)
    for value, was in zip(found, (operators, products, megabytes)):
        assert 0.5 * was < value < MOST * was, (
            f"operators, 1e9 products, MB: {found}, were {operators, products, megabytes}"
        )


@pytest.mark.parametrize(
    ("diameter", "passes", "work"), [(24.0, 1, (1377, 4.50, 157)), (None, 4, (4167, 16.6, 547))]
)
def test_the_work_of_one_field(
    model: Model,
    diameter: float | None,
    passes: int,
    work: tuple[int, float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = draw_field(np.random.default_rng(0), SIDE, diameter=24.0).image
    detector = Detector(model)
    looks, plain = [], TorchEngine.maps
    monkeypatch.setattr(
        TorchEngine, "maps", lambda self, images: looks.append(images.shape) or plain(self, images)
    )
    with counted() as done:
        cells = predict_plane(detector, image, diameter=diameter)
    assert len(cells) > 5
    assert len(looks) <= passes
    within(done, *work)


def test_the_work_of_one_training_step(model: Model) -> None:
    rng = np.random.default_rng(0)
    crops = [draw_field(rng, 128, diameter=24.0) for _ in range(2)]
    targets = [target_from_labels(crop.labels, crop.known) for crop in crops]
    network = model.copy().network.train()
    make_optimiser(network, 0.5)  # freezes the early layers
    hold_batchnorm(network)
    torch.manual_seed(0)
    with counted() as done:
        sum(network(to_batch([c.image for c in crops], torch.device("cpu")), targets).values()).backward()
    within(done, 3585, 6.58, 241)
