"""Backbones see the same wherever a picture ends, and know their early layers."""

from __future__ import annotations

import subprocess
import sys

import pytest
import timm
import torch

from napari_cupre.errors import InputError
from napari_cupre.model.backbone import Backbone
from napari_cupre.model.config import preset, preset_names
from napari_cupre.model.efficientnet import LITE

BACKBONES = sorted(
    {preset(name).backbone for name in preset_names()} - {preset("paper").backbone} | {"resnest14d"}
)


@pytest.fixture(scope="module", params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return Backbone(request.param).eval()


@torch.no_grad()
@pytest.mark.parametrize("more", [(1, 0), (0, 7), (30, 19), (32, 64)])
def test_what_a_larger_canvas_holds_stays_where_it_was(backbone: Backbone, more: tuple[int, int]) -> None:
    small = torch.rand(1, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.pad(small, (0, more[1], 0, more[0]))
    for mine, theirs in zip(backbone(small)[:2], backbone(large)[:2]):
        rows, columns = mine.shape[2] // 3, mine.shape[3] // 3
        torch.testing.assert_close(
            mine[..., :rows, :columns], theirs[..., :rows, :columns], atol=1e-3, rtol=1e-3
        )


@torch.no_grad()
def test_a_shifted_picture_is_seen_shifted(backbone: Backbone) -> None:
    wide = torch.rand(1, 3, 192, 224, generator=torch.Generator().manual_seed(0))
    here, there = backbone(wide[..., :192])[0], backbone(wide[..., 32:])[0]
    torch.testing.assert_close(here[..., 16:32, 24:32], there[..., 16:32, 16:24], atol=1e-3, rtol=1e-3)


def test_padding_by_size_is_refused() -> None:
    with pytest.raises(InputError, match="pads by the size"):
        Backbone("tf_efficientnet_lite0")


def test_early_layers_are_a_small_part_from_the_beginning(backbone: Backbone) -> None:
    early = backbone.early_parameters()
    every = list(backbone.parameters())
    assert [id(p) for p in early] == [id(p) for p in every[: len(early)]]
    assert 0 < sum(p.numel() for p in early) < 0.1 * sum(p.numel() for p in every)


def test_the_layout_of_single_channels_changes_no_value() -> None:
    torch.manual_seed(0)
    backbone = Backbone("efficientnet_lite0").train()
    images = torch.rand(2, 3, 64, 64)
    plain = backbone.body(images)
    for mine, theirs in zip(backbone(images), plain):
        assert mine.is_contiguous()
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_our_lite_network_is_timms() -> None:
    """The same weights under the same names give the same maps; the early layers are the same ones."""
    torch.manual_seed(0)
    theirs = timm.create_model(LITE, pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)).eval()
    ours = Backbone(LITE).eval()
    ours.body.load_state_dict(theirs.state_dict())
    assert list(ours.body.state_dict()) == list(theirs.state_dict())
    images = torch.randn(1, 3, 97, 128)
    for mine, other in zip(ours(images), theirs(images), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
    assert sum(p.numel() for p in ours.early_parameters()) == sum(
        p.numel() for part in (theirs.conv_stem, theirs.bn1, theirs.blocks[:2]) for p in part.parameters()
    )


def test_the_network_that_ships_needs_no_large_library() -> None:
    """timm, torchvision's Python and torch's compiler cost two seconds at every start of the command."""
    code = (
        "import sys\n"
        "from napari_cupre.model.zoo import open_model\n"
        "model = open_model('cupre', 'cpu')\n"
        "import torch\n"
        "model.network.detect(torch.rand(1, 3, 64, 64), engine=model.engine())\n"
        "print([name for name in ('timm', 'torchvision', 'torch._dynamo', 'sympy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
