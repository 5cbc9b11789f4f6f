"""torchvision's network, converted, computes what it computed; fetching it says what went wrong."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_V2_Weights, maskrcnn_resnet50_fpn_v2

from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.model.coco_start import convert_coco, load_coco
from napari_cupre.model.config import preset
from napari_cupre.model.network import MEAN, STD, CellRCNN

CATEGORIES = ["__background__", "person", "N/A", *[f"thing {i}" for i in range(88)]]


@pytest.mark.slow
def test_the_converted_network_computes_what_torchvisions_does() -> None:
    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None).eval()
    ours = CellRCNN(preset("resnet50", classes=("person", "cell"))).eval()
    convert_coco(theirs.state_dict(), ours, CATEGORIES)
    images = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        expected = theirs.backbone((images - MEAN) / STD)
        found = ours.features(images)
        for mine, other in zip(found.values(), expected.values()):
            torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)
        levels = list(found.values())
        for mine, other in zip(ours.rpn.head(levels), theirs.rpn.head(levels)):
            torch.testing.assert_close(mine, other)
        regions = torch.rand(2, 256, 7, 7)
        scores, _ = ours.heads.box(regions)
        old = theirs.roi_heads.box_predictor.cls_score(theirs.roi_heads.box_head(regions))
        torch.testing.assert_close(scores[:, :2], old[:, :2])
        masks = theirs.roi_heads.mask_predictor(theirs.roi_heads.mask_head(torch.ones(1, 256, 14, 14)))
        rows = [i for i, name in enumerate(CATEGORIES) if i and name != "N/A"]
        torch.testing.assert_close(
            ours.heads.mask(torch.ones(1, 256, 14, 14))[0], masks[0, rows].mean(0), rtol=1e-4, atol=1e-4
        )


def test_another_preset_and_no_network_are_one_sentence_each(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="choose --preset resnet50"):
        load_coco(CellRCNN(preset("tiny")))

    def offline(self: object, **options: object) -> None:
        assert options["check_hash"] is True
        assert options["weights_only"] is True
        raise OSError("no route to host")

    monkeypatch.setattr(MaskRCNN_ResNet50_FPN_V2_Weights, "get_state_dict", offline)
    with pytest.raises(EnvironmentFault, match="could not be fetched"):
        load_coco(CellRCNN(preset("resnet50")))
