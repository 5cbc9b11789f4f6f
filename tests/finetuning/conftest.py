"""What the tests of fine-tuning start from."""

from __future__ import annotations

import pytest
from few_shot_fields import settings, shot

from napari_cupre.finetuning.finetune_run import FinetuneRun
from napari_cupre.model.checkpoint import Model, new_model


@pytest.fixture
def start() -> Model:
    """Random weights, the same each time."""
    return new_model("tiny", seed=1)


@pytest.fixture(scope="session")
def _skilled() -> Model:
    teaching = [shot(seed) for seed in range(10, 14)]
    run = FinetuneRun(new_model("tiny", seed=1), teaching, settings(steps=80, batch=4, crop=96, held_out=0.0))
    list(run.events())
    assert run.result is not None
    return run.result.copy(name="parent", diameter=None, training={"objective": "amt2"}, metrics={})


@pytest.fixture
def pretrained(_skilled: Model) -> Model:
    """A network that has learnt to find some of the discs, which is what a pretrained start is."""
    return _skilled.copy()
