"""How varied a set of images is: near-duplicates, clusters, coverage, and what a new folder would add.

The number of looks is the Vendi score: the exponential of the entropy of the eigenvalues of the similarity
matrix (Friedman and Dieng, "The Vendi Score", TMLR 2023). It is 1 for copies of one image and n for n images
that have nothing in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_cupre.errors import InputError
from napari_cupre.evaluation.image_features import ImageFeatures
from napari_cupre.io.files import split_scene

DUPLICATE = 0.98
"""Minimum cosine similarity of two images that count as near-duplicates."""

_CHUNK = 2048
"""Rows of the similarity matrix in memory at a time."""


@dataclass
class Diversity:
    """The diversity of a set of images.

    Attributes
    ----------
    features : ImageFeatures
        Features of the set.
    clusters : numpy.ndarray
        int64 (N,), cluster of each image, the largest is 0.
    duplicates : numpy.ndarray
        int64 (N,), each image's group of near-duplicates, named by its first member's number.
    looks : float
        Vendi score of the set.
    """

    features: ImageFeatures
    clusters: np.ndarray
    duplicates: np.ndarray
    looks: float

    @property
    def duplicate_count(self) -> int:
        """Return the number of images that are near-duplicates of an earlier one."""
        return int(np.count_nonzero(self.duplicates != np.arange(len(self.duplicates))))

    def duplicate_groups(self) -> list[np.ndarray]:
        """Return the image numbers of each group of near-duplicates, the largest first."""
        order = np.argsort(self.duplicates, kind="stable")
        starts = np.flatnonzero(np.diff(self.duplicates[order])) + 1
        groups = [group for group in np.split(order, starts) if len(group) > 1]
        return sorted(groups, key=len, reverse=True)

    def folders(self) -> dict[str, np.ndarray]:
        """Return the image numbers of each folder."""
        names = np.array([str(split_scene(path)[0].parent) for path in self.features.paths])
        return {str(name): np.flatnonzero(names == name) for name in np.unique(names)}

    def coverage(self, numbers: np.ndarray) -> float:
        """Return the share of clusters that contain some of these images."""
        return len(np.unique(self.clusters[numbers])) / len(np.unique(self.clusters))

    def weights(self) -> np.ndarray:
        """Return how often to draw each image so that every cluster is drawn equally often.

        Near-duplicates share one image's part of their cluster.

        Returns
        -------
        numpy.ndarray
            float64 (N,), sum 1.
        """
        copies = np.bincount(self.duplicates, minlength=len(self.duplicates))[self.duplicates]
        single = 1.0 / copies
        cluster_sums = np.bincount(self.clusters, weights=single)
        weights = single / cluster_sums[self.clusters]
        return weights / weights.sum()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "images": len(self.features),
            "skipped": [str(path) for path, _ in self.features.skipped],
            "looks": self.looks,
            "near_duplicates": self.duplicate_count,
            "near_duplicate_groups": [
                [str(self.features.paths[number]) for number in group] for group in self.duplicate_groups()
            ],
            "clusters": np.bincount(self.clusters).tolist(),
            "folders": {
                name: {
                    "images": len(numbers),
                    "looks": vendi_score(self.features.vectors[numbers]),
                    "coverage": self.coverage(numbers),
                    "adds": self.added_by(numbers),
                }
                for name, numbers in self.folders().items()
            },
        }

    def added_by(self, numbers: np.ndarray) -> float:
        """Return the number of looks that the set would lose without these images."""
        rest = np.setdiff1d(np.arange(len(self.features)), numbers)
        return self.looks - (vendi_score(self.features.vectors[rest]) if len(rest) else 0.0)

    def table(self) -> str:
        """Return the folders as text: images, looks, share of clusters covered, looks of their own."""
        rows = [("folder", "images", "looks", "coverage", "adds")]
        for name, values in self.as_dict()["folders"].items():
            looks, adds = f"{values['looks']:.1f}", f"{values['adds']:+.1f}"
            rows.append((name, str(values["images"]), looks, f"{values['coverage']:.0%}", adds))
        rows.append(("all", str(len(self.features)), f"{self.looks:.1f}", "100%", ""))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = []
        for name, *figures in rows:
            cells = [cell.rjust(width) for cell, width in zip(figures, widths[1:])]
            lines.append("  ".join([name.ljust(widths[0]), *cells]).rstrip())
        return "\n".join(lines)


@dataclass
class Addition:
    """What new images would add to an existing set.

    Attributes
    ----------
    novel : numpy.ndarray
        bool (M,), new images less similar to the old ones than these are to each other.
    looks_before, looks_after : float
        Vendi scores of the old set and of both sets together.
    """

    novel: np.ndarray
    looks_before: float
    looks_after: float


def measure_diversity(features: ImageFeatures, *, seed: int = 0, clusters: int | None = None) -> Diversity:
    """Find near-duplicates, clusters and the number of looks of a set of images.

    Parameters
    ----------
    features : ImageFeatures
        See `extract_features`.
    seed : int, optional
        Seed of the clustering.
    clusters : int, optional
        Number of clusters; None = set by the number of images.

    Raises
    ------
    InputError
        If there is no image.
    """
    if len(features) == 0:
        raise InputError("There is no image to measure the diversity of; give some images.")
    count = clusters if clusters is not None else min(32, max(1, round((len(features) / 2) ** 0.5)))
    return Diversity(
        features,
        _cluster(features.vectors, min(count, len(features)), seed),
        near_duplicates(features.vectors),
        vendi_score(features.vectors),
    )


def measure_addition(old: np.ndarray, new: np.ndarray) -> Addition:
    """Compare new images with old ones.

    Parameters
    ----------
    old, new : numpy.ndarray
        float32 (N, D) and (M, D), from one call of `extract_features` (a common centre).
    """
    if len(old) == 0:
        return Addition(np.ones(len(new), bool), 0.0, vendi_score(new))
    within = _nearest(old, old, leave_self_out=True) if len(old) > 1 else np.array([DUPLICATE])
    novel = _nearest(new, old) < np.percentile(within, 5)
    return Addition(novel, vendi_score(old), vendi_score(np.concatenate([old, new])))


def vendi_score(vectors: np.ndarray) -> float:
    """Return the effective number of different images among unit vectors (N, D), by cosine similarity."""
    if len(vectors) == 0:
        return 0.0
    # The non-zero eigenvalues of X X' / N are those of X' X / N: the size of the matrix need not grow with N.
    matrix = vectors @ vectors.T if len(vectors) < vectors.shape[1] else vectors.T @ vectors
    values = np.linalg.eigvalsh(matrix.astype(np.float64) / len(vectors))
    values = values[values > 1e-12]
    values = values / values.sum()
    return float(np.exp(-(values * np.log(values)).sum()))


def near_duplicates(vectors: np.ndarray) -> np.ndarray:
    """Group images that are nearly the same, directly or through others.

    Parameters
    ----------
    vectors : numpy.ndarray
        float32 (N, D) of unit length; two images are nearly the same from a cosine of `DUPLICATE` on.

    Returns
    -------
    numpy.ndarray
        int64 (N,), the number of the first image of each one's group.
    """
    group = np.arange(len(vectors))
    for start in range(0, len(vectors), _CHUNK):
        stop = min(start + _CHUNK, len(vectors))
        similar = vectors[start:stop] @ vectors[:stop].T >= DUPLICATE
        group[:stop] = _join(group[:start], similar)
    return group


def _join(group: np.ndarray, similar: np.ndarray) -> np.ndarray:
    """Add images to groups; an image that resembles two groups joins them.

    Parameters
    ----------
    group : numpy.ndarray
        int64 (K,), the groups of the first K images, each numbered by its first member.
    similar : numpy.ndarray
        bool (M, K + M), which of all K + M images each new one resembles.

    Returns
    -------
    numpy.ndarray
        int64 (K + M,), the groups of all images.
    """
    old, (new, _) = len(group), similar.shape
    known, member_of = np.unique(group, return_inverse=True)
    rows, groups = np.nonzero(_any_member(similar[:, :old], member_of, len(known)))
    inner_rows, inner_others = np.nonzero(np.tril(similar[:, old:], -1))
    # The nodes are the groups, followed by the new images.
    nodes = len(known) + new
    edges = np.r_[rows, inner_rows] + len(known), np.r_[groups, inner_others + len(known)]
    graph = coo_array((np.ones(len(edges[0]), bool), edges), (nodes, nodes))
    count, parts = connected_components(graph, directed=False)
    first = np.full(count, old + new)
    np.minimum.at(first, parts, np.r_[known, np.arange(old, old + new)])
    return np.r_[first[parts[: len(known)]][member_of], first[parts[len(known) :]]]


def _any_member(similar: np.ndarray, member_of: np.ndarray, count: int) -> np.ndarray:
    """Which groups each row resembles; thousands of copies become one column.

    Parameters
    ----------
    similar : numpy.ndarray
        bool (M, K), which of K images each of M rows resembles.
    member_of : numpy.ndarray
        int (K,), the column of each image's group.
    count : int
        Number of groups.

    Returns
    -------
    numpy.ndarray
        bool (M, count).
    """
    if count == 0:
        return similar[:, :0]
    order = np.argsort(member_of, kind="stable")
    starts = np.searchsorted(member_of[order], np.arange(count))
    return np.logical_or.reduceat(similar[:, order], starts, axis=1)


def _nearest(queries: np.ndarray, others: np.ndarray, leave_self_out: bool = False) -> np.ndarray:
    """Return the largest cosine of each query with any other vector."""
    best = np.empty(len(queries), np.float32)
    for start in range(0, len(queries), _CHUNK):
        similar = queries[start : start + _CHUNK] @ others.T
        if leave_self_out:
            rows = np.arange(len(similar))
            similar[rows, rows + start] = -1.0
        best[start : start + _CHUNK] = similar.max(axis=1)
    return best


def _cluster(vectors: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Cluster the directions by k-means; clusters are numbered by descending size."""
    if count == 1:
        return np.zeros(len(vectors), np.int64)
    _, labels = kmeans2(vectors.astype(np.float64), count, minit="++", iter=30, seed=seed)
    values, inverse, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(values))
    return rank[inverse]
