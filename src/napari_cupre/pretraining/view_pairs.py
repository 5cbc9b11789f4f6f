"""Pairs of views of unlabelled crops, and batches of them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from napari_cupre.io.unlabelled import UnlabelledCrops
from napari_cupre.model.views import ViewSettings, make_view


@dataclass
class ViewPair:
    """Two views of one crop.

    Attributes
    ----------
    query, key : torch.Tensor
        float32 (3, side, side).
    skipped : list of tuple of str
        Files that could not be read, with the reason.
    """

    query: Tensor
    key: Tensor
    skipped: list[tuple[str, str]]


class ViewPairs(Dataset[ViewPair]):
    """The contrastive stream: item `i` depends only on the seed of the crops and `i`.

    Parameters
    ----------
    crops : UnlabelledCrops
        Source of the crops.
    settings : ViewSettings
        Augmentation of the views.
    """

    def __init__(self, crops: UnlabelledCrops, settings: ViewSettings) -> None:
        self.crops = crops
        self.settings = settings

    def __getitem__(self, number: int) -> ViewPair:
        crop, rng = self.crops.draw(number)
        query, key = (make_view(crop.image, rng, self.settings) for _ in range(2))
        return ViewPair(query, key, crop.skipped)


@dataclass
class ViewBatch:
    """Several pairs of views as tensors.

    Attributes
    ----------
    query, key : torch.Tensor
        float32 (B, 3, side, side).
    skipped : list of tuple of str
        Files that could not be read, with the reason.
    """

    query: Tensor
    key: Tensor
    skipped: list[tuple[str, str]]


def collate_views(pairs: list[ViewPair]) -> ViewBatch:
    """Join pairs of views into a batch."""
    return ViewBatch(
        torch.stack([pair.query for pair in pairs]),
        torch.stack([pair.key for pair in pairs]),
        [skip for pair in pairs for skip in pair.skipped],
    )
