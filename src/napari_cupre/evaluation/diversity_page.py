"""Diversity as one self-contained page: the table, the clusters and the near-duplicates in pictures."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from napari_cupre.evaluation.image_features import ImageFeatures
from napari_cupre.evaluation.looks import Addition, Diversity
from napari_cupre.io.files import image_name
from napari_cupre.io.ownership import owned_write
from napari_cupre.io.pages import png_source, render_page

_SHOWN, _ROWS = 14, 20
"""Maximum number of pictures in a row, and of rows of near-duplicates or new images."""


def write_diversity_page(
    diversity: Diversity,
    path: str | os.PathLike[str],
    new: ImageFeatures | None = None,
    addition: Addition | None = None,
) -> None:
    """Write the page; it needs no other file.

    Parameters
    ----------
    diversity : Diversity
        What to show.
    path : str or os.PathLike
        The page to write.
    new : ImageFeatures, optional
        Images that might be added.
    addition : Addition, optional
        The effect of adding them.

    Raises
    ------
    EnvironmentFault
        If the disk is full or read-only.
    """
    groups = diversity.duplicate_groups()
    page = render_page(
        "diversity.html",
        title=f"Diversity of {len(diversity.features)} images",
        diversity=diversity,
        clusters=[_cluster(diversity, number) for number in np.unique(diversity.clusters)],
        group_count=len(groups),
        groups=[_strip(diversity.features, group) for group in groups[:_ROWS]],
        new=None if new is None or addition is None else _new_images(new, addition),
    )
    with owned_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _new_images(new: ImageFeatures, addition: Addition) -> dict[str, Any]:
    """Describe what new images would add, with pictures of those unlike the others."""
    novel = np.flatnonzero(addition.novel)
    rows = [novel[start : start + _SHOWN] for start in range(0, len(novel), _SHOWN)]
    return {
        "size": len(new),
        "novel": len(novel),
        "before": addition.looks_before,
        "after": addition.looks_after,
        "strips": [_strip(new, row) for row in rows[:_ROWS]],
    }


def _cluster(diversity: Diversity, number: int) -> dict[str, Any]:
    """Return a cluster's size and its most typical images."""
    members = np.flatnonzero(diversity.clusters == number)
    vectors = diversity.features.vectors[members]
    typical = members[np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")]
    share = len(members) / len(diversity.features)
    return {"size": len(members), "share": f"{share:.0%}", "strip": _strip(diversity.features, typical)}


def _strip(features: ImageFeatures, numbers: np.ndarray) -> dict[str, str]:
    """Arrange the first images of a list side by side, with their names."""
    shown = [int(number) for number in numbers[:_SHOWN]]
    pixels = np.concatenate([features.thumbnails[number] for number in shown], axis=1)
    return {
        "source": png_source(pixels),
        "names": ", ".join(image_name(features.paths[number]) for number in shown),
    }
