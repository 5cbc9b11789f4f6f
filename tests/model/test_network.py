"""The network learns, detects, ignores what is unknown, and survives every size."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_cupre.errors import InputError
from napari_cupre.model.config import ModelConfig, preset, preset_names
from napari_cupre.model.network import CellRCNN
from napari_cupre.model.targets import target_from_labels


def discs(count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.zeros((size, size), np.int32)
    y, x = np.mgrid[:size, :size]
    for label in range(1, count + 1):
        cy, cx = rng.uniform(10, size - 10, 2)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < rng.uniform(8, 13) ** 2] = label
    image = (labels > 0) * 0.8 + rng.normal(0.1, 0.05, labels.shape)
    return np.repeat(image[..., None], 3, axis=2).astype(np.float32), labels


def batch(images: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)


@pytest.fixture
def network() -> CellRCNN:
    torch.manual_seed(0)
    return CellRCNN(preset("tiny"))


@pytest.mark.parametrize("size", [(64, 64), (33, 95), (1, 1), (200, 70)])
def test_any_size_is_detected_in(network: CellRCNN, size: tuple[int, int]) -> None:
    found = network.detect(torch.rand(2, 3, *size), score=0.0, max_detections=50)
    assert len(found) == 2
    for detections in found:
        assert len(detections) <= 50
        assert detections.masks.shape == (len(detections), 28, 28)
        assert (detections.boxes[:, 2] <= size[1]).all()
        assert (detections.boxes[:, 3] <= size[0]).all()
        assert (detections.scores.diff() <= 0).all()


def test_an_odd_first_image_does_not_change_what_is_found_later() -> None:
    """torchvision's region pooling guesses its strides from the first image and keeps the guess."""
    found = []
    for first in ((22, 22), (128, 128)):
        torch.manual_seed(0)
        network = CellRCNN(preset("tiny"))
        network.detect(torch.rand(1, 3, *first), score=0.0)
        image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
        found.append(network.detect(image, score=0.0)[0])
    torch.testing.assert_close(found[0].masks, found[1].masks)
    torch.testing.assert_close(found[0].scores, found[1].scores)


def test_losses_of_unusual_batches_are_finite(network: CellRCNN) -> None:
    image, labels = discs(5, 96, 1)
    nothing = target_from_labels(np.zeros((96, 96), np.int32))
    all_unknown = target_from_labels(np.zeros((96, 96), np.int32), np.zeros((96, 96), bool))
    for targets in ([nothing] * 2, [all_unknown] * 2, [target_from_labels(labels), nothing]):
        losses = network(batch([image, image]), targets)
        assert set(losses) == {"rpn_score", "rpn_box", "score", "box", "mask"}
        total = sum(losses.values())
        assert torch.isfinite(total)
        network.zero_grad()
        total.backward()


def test_unknown_pixels_teach_nothing(network: CellRCNN) -> None:
    """With nothing known and nothing annotated, no gradient reaches any weight."""
    image, _ = discs(5, 96, 1)
    unknown = target_from_labels(np.zeros((96, 96), np.int32), np.zeros((96, 96), bool))
    sum(network(batch([image]), [unknown]).values()).backward()
    assert all(p.grad is None or not p.grad.any() for p in network.parameters())


@pytest.mark.slow
def test_it_learns(network: CellRCNN) -> None:
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3)
    totals = []
    for step in range(40):
        fields = [discs(8, 96, 10 * step + i) for i in range(2)]
        losses = network(batch([f[0] for f in fields]), [target_from_labels(f[1]) for f in fields])
        total = sum(losses.values())
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        totals.append(total.item())
    assert np.mean(totals[-5:]) < 0.8 * np.mean(totals[:3])


def test_detection_leaves_the_mode_as_it_was(network: CellRCNN) -> None:
    network.train()
    network.detect(torch.rand(1, 3, 64, 64))
    assert network.training
    network.eval()
    network.detect(torch.rand(1, 3, 64, 64))
    assert not network.training


def test_classes_are_cut_to_the_ones_wanted() -> None:
    torch.manual_seed(0)
    network = CellRCNN(preset("tiny", classes=("person", "cell", "cat")))
    before = network.heads.box.score.weight.detach().clone()
    network.keep_classes(["cell"])
    assert network.config.classes == ("cell",)
    torch.testing.assert_close(network.heads.box.score.weight, before[[0, 2]])
    with pytest.raises(InputError, match="no class 'dog'"):
        network.keep_classes(["dog"])


def test_every_preset_can_be_described_and_named() -> None:
    assert {"compact", "resnest50", "paper", "resnet50"} <= set(preset_names())
    for name in preset_names():
        config = preset(name)
        assert ModelConfig.from_dict(config.as_dict()) == config
    with pytest.raises(InputError, match="no preset 'nothing'"):
        preset("nothing")


def test_a_backbone_that_does_not_fit_is_named() -> None:
    with pytest.raises(InputError, match="no_such_net"):
        CellRCNN(preset("tiny", backbone="no_such_net"))
