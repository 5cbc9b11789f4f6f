"""Anchors are matched only near an instance; the result must be that of the full comparison."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

from napari_cupre.model.config import preset
from napari_cupre.model.rpn import ProposalNetwork
from napari_cupre.model.targets import Target


def make_target(
    boxes: list[tuple[float, float, float, float]], size: int = 128, known: bool = True
) -> Target:
    count = len(boxes)
    return Target(
        instances=torch.zeros(size, size, dtype=torch.int32),
        known=torch.full((size, size), known),
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        ids=torch.arange(1, count + 1),
        classes=torch.ones(count, dtype=torch.int64),
    )


def assign(target: Target, size: int = 128, name: str = "compact"):
    config = preset(name, fpn_channels=8)
    rpn = ProposalNetwork(config).train()
    features = {str(i): torch.zeros(1, 8, size // s, size // s) for i, s in enumerate((4, 8, 16, 32))}
    rpn(features, (size, size), [target])
    anchors = rpn.anchors(list(features.values()))
    labels, matched = rpn.assign_targets_to_anchors([anchors], [target])
    return anchors, labels[0], matched[0]


box = st.tuples(st.floats(0, 100), st.floats(0, 100), st.floats(6, 120), st.floats(6, 120)).map(
    lambda v: (v[0], v[1], min(v[0] + v[2], 128.0), min(v[1] + v[3], 128.0))
)
# Needles of 1:5 reach anchors outside the window, with an IoU near the negative threshold.
cells = box.filter(lambda b: 0.33 < (b[2] - b[0]) / (b[3] - b[1]) < 3)


@settings(max_examples=25, deadline=None)
@given(st.lists(cells, min_size=1, max_size=6))
def test_local_matching_finds_what_the_full_matrix_finds(boxes: list) -> None:
    target = make_target(boxes)
    anchors, labels, matched = assign(target)
    iou = box_iou(anchors, target.boxes)
    best = iou.max(dim=1)
    np.testing.assert_array_equal((labels == 1)[best.values >= 0.5], True)
    at_best = iou[torch.arange(len(anchors)), best.indices]
    clear = best.values >= 0.5
    chosen = (
        torch.stack([box_iou(a[None], m[None])[0, 0] for a, m in zip(anchors[clear], matched[clear])])
        if clear.any()
        else None
    )
    if chosen is not None:
        # An instance's own best anchor may go to it although another fits better.
        assert (chosen >= at_best[clear] - 1e-4).float().mean() > 0.8
    # Nothing that fits below the negative threshold is a cell, but for each instance's best anchors.
    low = (labels == 1) & (best.values < 0.5)
    for row in torch.nonzero(low)[:, 0]:
        assert (iou[row] >= iou.max(dim=0).values - 1e-4).any()
    background = labels == 0
    assert best.values[background].max() < 0.31


def test_every_instance_has_an_anchor() -> None:
    boxes = [(10.0, 10.0, 16.0, 16.0), (20.0, 20.0, 126.0, 120.0), (40.0, 3.0, 44.0, 60.0)]
    _, labels, matched = assign(make_target(boxes))
    found = {tuple(m) for m in matched[labels == 1].tolist()}
    assert found == {tuple(b) for b in boxes}


@pytest.mark.parametrize(("known", "negatives"), [(True, True), (False, False)])
def test_unknown_area_has_no_negatives(known: bool, negatives: bool) -> None:
    _, labels, _ = assign(make_target([(40.0, 40.0, 60.0, 60.0)], known=known))
    assert bool((labels == 0).any()) is negatives
    assert bool((labels == 1).any())


def test_an_image_without_a_cell_is_all_background() -> None:
    _, labels, _ = assign(make_target([]))
    assert set(labels.tolist()) == {0.0}


def test_matching_memory_grows_with_instances_not_with_the_matrix() -> None:
    """1,500 cells in 512 px: the full matrix would hold 131,000 x 1,500 values in each of its temporaries."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 500, (1500, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(8, 12, (1500, 2))], axis=1)
    target = make_target([tuple(b) for b in boxes.clip(0, 512)], size=512)
    config = preset("compact", fpn_channels=8)
    rpn = ProposalNetwork(config)
    rpn._grids = [(128, 128), (64, 64), (32, 32), (16, 16)]
    index, _, _ = rpn._pairs(target.boxes, 0)
    assert len(index) < 1500 * 81 * 6


def proposals(network: ProposalNetwork, scores: torch.Tensor) -> torch.Tensor:
    """Of one level with 4 px between places and boxes as the anchors are."""
    side = 4 * scores.shape[-1]
    offsets = torch.zeros(1, 4 * scores.shape[0], *scores.shape[1:])
    return network.propose([scores[None]], [offsets], (side, side))[0]


def ramp(kinds: int, grid: int) -> torch.Tensor:
    """Scores above the threshold without a peak but the last."""
    return 1 + torch.linspace(0, 1, kinds * grid * grid).reshape(kinds, grid, grid)


def test_a_larger_field_has_room_for_more_cells() -> None:
    """As many per area as in a small one; it was one number for all, and large tiles lost cells."""
    network = ProposalNetwork(replace(preset("tiny"), detect_candidates=(50, 60), rpn_nms=0.99)).eval()
    kinds = len(network.anchors.shapes[0])
    scores = [1 + torch.rand(kinds, side // 4, side // 4) for side in (256, 1024, 2048)]
    counts = [len(proposals(network, each)) for each in scores]
    assert 30 < counts[0] <= 60
    assert 30 < counts[1] <= 60
    assert 120 < counts[2] <= 240


def test_a_faint_cell_keeps_a_candidate_beside_many_clear_ones() -> None:
    network = ProposalNetwork(replace(preset("tiny"), detect_candidates=(50, 60), rpn_nms=0.99)).eval()
    kinds = len(network.anchors.shapes[0])
    scores = ramp(kinds, 64)
    scores[0, :20, :20] = -5.0
    scores[0, 10, 12] = 0.0  # lower than all that is above the threshold
    boxes = proposals(network, scores)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    assert (centres - torch.tensor([48.0, 40.0])).norm(dim=1).min() < 3


def test_an_even_ground_does_not_make_every_place_a_candidate() -> None:
    """Where all scores are alike, as on a blank image, all are as high as their neighbours."""
    network = ProposalNetwork(replace(preset("tiny"), detect_candidates=(50, 10**6), rpn_nms=0.99)).eval()
    kinds = len(network.anchors.shapes[0])
    assert len(proposals(network, torch.ones(kinds, 64, 64))) <= 50
