"""What tests of predictions share."""

from __future__ import annotations

import pytest

from napari_cupre.model.checkpoint import new_model, save_model


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file of a tiny model with random weights."""
    return str(save_model(new_model("tiny"), tmp_path_factory.mktemp("model") / "tiny.safetensors"))
