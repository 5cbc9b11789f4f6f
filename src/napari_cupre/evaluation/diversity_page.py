"""Diversity as one self-contained page: the table, the clusters and the near-duplicates in pictures."""

from __future__ import annotations

import base64
import html
import os

import imageio.v3 as iio
import numpy as np

from napari_cupre.evaluation.features import ImageFeatures
from napari_cupre.evaluation.looks import Addition, Diversity
from napari_cupre.io.ownership import owned_write

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
img { display: block; margin: .2rem 0 .8rem; } pre { overflow-x: auto; }
"""

#: Pictures in a row, and rows of near-duplicates at most.
_SHOWN, _GROUPS = 14, 20


def write_diversity_page(
    diversity: Diversity,
    path: str | os.PathLike[str],
    new: ImageFeatures | None = None,
    addition: Addition | None = None,
) -> None:
    """Write the page; it needs no other file.

    Parameters
    ----------
    new, addition : images that might be added, and what they would add.

    Raises
    ------
    EnvironmentFault
        Full or read-only disk.
    """
    count = len(diversity.features)
    parts = [
        f"<h1>Diversity of {count} images</h1>",
        f"<p>{diversity.looks:.1f} looks (effective number of different images), "
        f"{diversity.duplicate_count} near-duplicates.</p>",
        f"<pre>{html.escape(diversity.table())}</pre><h2>Clusters</h2>",
    ]
    parts += [_cluster(diversity, number) for number in np.unique(diversity.clusters)]
    groups = diversity.duplicate_groups()
    if groups:
        parts.append(f"<h2>Near-duplicates: {len(groups)} groups</h2>")
        parts += [_strip(diversity.features, group) for group in groups[:_GROUPS]]
    if new is not None and addition is not None:
        parts += _new_images(new, addition)
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Diversity</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )
    with owned_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _new_images(new: ImageFeatures, addition: Addition) -> list[str]:
    """What new images would add: a sentence, then pictures of those that are unlike the others."""
    novel = np.flatnonzero(addition.novel)
    parts = [
        f"<h2>{len(new)} new images</h2><p>{len(novel)} of them are unlike the others; "
        f"looks {addition.looks_before:.1f} to {addition.looks_after:.1f}.</p>"
    ]
    rows = [novel[start : start + _SHOWN] for start in range(0, len(novel), _SHOWN)]
    return parts + [_strip(new, row) for row in rows[:_GROUPS]]


def _cluster(diversity: Diversity, number: int) -> str:
    """A cluster's size and its most typical images."""
    members = np.flatnonzero(diversity.clusters == number)
    vectors = diversity.features.vectors[members]
    typical = members[np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")]
    share = len(members) / len(diversity.features)
    pictures = _strip(diversity.features, typical)
    return f"<p>cluster {number + 1}: {len(members)} images ({share:.0%})</p>{pictures}"


def _strip(features: ImageFeatures, numbers: np.ndarray) -> str:
    """The first images of a list side by side; the names show when the pointer rests on them."""
    shown = [int(number) for number in numbers[:_SHOWN]]
    pixels = np.concatenate([features.thumbnails[number] for number in shown], axis=1)
    names = ", ".join(features.paths[number].name for number in shown)
    encoded = base64.b64encode(iio.imwrite("<bytes>", pixels, extension=".png")).decode("ascii")
    return f'<img src="data:image/png;base64,{encoded}" title="{html.escape(names, quote=True)}" alt="">'
