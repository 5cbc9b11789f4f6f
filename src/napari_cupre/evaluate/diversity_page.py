"""Diversity as one self-contained page: the table, the clusters and the near-duplicates in pictures."""

from __future__ import annotations

import base64
import html
import os

import imageio.v3 as iio
import numpy as np

from napari_cupre.data.files import atomic_write
from napari_cupre.evaluate.diversity import Diversity

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
img { display: block; margin: .2rem 0 .8rem; } pre { overflow-x: auto; }
"""

#: Pictures in a row, and rows of near-duplicates at most.
_SHOWN, _GROUPS = 14, 20


def write_diversity_page(diversity: Diversity, path: str | os.PathLike[str]) -> None:
    """Write the page; it needs no other file.

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
    groups = _duplicate_groups(diversity)
    if groups:
        parts.append(f"<h2>Near-duplicates: {len(groups)} groups</h2>")
        parts += [_strip(diversity, group) for group in groups[:_GROUPS]]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Diversity</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _cluster(diversity: Diversity, number: int) -> str:
    """A cluster's size and its most typical images."""
    members = np.flatnonzero(diversity.clusters == number)
    vectors = diversity.features.vectors[members]
    typical = members[np.argsort(-(vectors @ vectors.mean(axis=0)), kind="stable")]
    share = len(members) / len(diversity.features)
    return f"<p>cluster {number + 1}: {len(members)} images ({share:.0%})</p>{_strip(diversity, typical)}"


def _duplicate_groups(diversity: Diversity) -> list[np.ndarray]:
    """Numbers of the images of each group of at least two, the largest first."""
    first, counts = np.unique(diversity.duplicates, return_counts=True)
    groups = [np.flatnonzero(diversity.duplicates == number) for number in first[counts > 1]]
    return sorted(groups, key=len, reverse=True)


def _strip(diversity: Diversity, numbers: np.ndarray) -> str:
    """The first images of a list side by side; the names show when the pointer rests on them."""
    shown = [int(number) for number in numbers[:_SHOWN]]
    pixels = np.concatenate([diversity.features.thumbnails[number] for number in shown], axis=1)
    names = ", ".join(diversity.features.paths[number].name for number in shown)
    encoded = base64.b64encode(iio.imwrite("<bytes>", pixels, extension=".png")).decode("ascii")
    return f'<img src="data:image/png;base64,{encoded}" title="{html.escape(names, quote=True)}" alt="">'
