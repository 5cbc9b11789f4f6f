"""Diversity: near-duplicates, looks, clusters, weights, and what a new folder adds."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_cupre.errors import InputError
from napari_cupre.evaluation.diversity_page import write_diversity_page
from napari_cupre.evaluation.image_features import ImageFeatures, extract_features
from napari_cupre.evaluation.looks import (
    measure_addition,
    measure_diversity,
    near_duplicates,
    vendi_score,
)
from napari_cupre.events import Steps
from napari_cupre.model.checkpoint import new_model
from napari_cupre.synthetic import SyntheticFields


def directions(count: int, dim: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def groups(sizes: list[int], spread: float = 0.05, dim: int = 16) -> ImageFeatures:
    """Tight groups of vectors around orthogonal centres, in folders of their own."""
    rng = np.random.default_rng(1)
    rows = [
        np.eye(dim)[g] + spread * rng.standard_normal(dim)
        for g, size in enumerate(sizes)
        for _ in range(size)
    ]
    vectors = np.array(rows, dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    paths = [Path(f"folder{g}") / f"{i}.png" for g, size in enumerate(sizes) for i in range(size)]
    return ImageFeatures(paths, vectors, [np.zeros((64, 64, 3), np.uint8)] * len(paths))


def test_looks_count_different_images() -> None:
    assert vendi_score(np.repeat(directions(1, 8), 20, axis=0)) == pytest.approx(1.0, abs=1e-4)
    assert vendi_score(np.eye(8, dtype=np.float32)) == pytest.approx(8.0, abs=1e-4)
    assert vendi_score(np.repeat(np.eye(8, dtype=np.float32), 5, axis=0)) == pytest.approx(8.0, abs=1e-4)
    assert vendi_score(np.zeros((0, 8), np.float32)) == 0.0


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.integers(2, 24), st.integers(0, 99))
def test_looks_lie_between_one_and_the_number_of_images(count: int, dim: int, seed: int) -> None:
    vectors = directions(count, dim, seed)
    assert 1.0 - 1e-6 <= vendi_score(vectors) <= min(count, dim) + 1e-4
    assert vendi_score(np.concatenate([vectors, vectors])) == pytest.approx(vendi_score(vectors), rel=1e-4)


def test_copies_are_found_also_by_way_of_others() -> None:
    angle = 0.15  # cosine 0.989 between neighbours, 0.955 between the ends
    chain = np.array([[np.cos(a), np.sin(a), 0.0] for a in (0.0, angle, 2 * angle)], np.float32)
    vectors = np.concatenate([chain, np.array([[0.0, 0.0, 1.0]], np.float32)])
    assert near_duplicates(vectors[[3, 2, 0, 1]]).tolist() == [0, 1, 1, 1]
    assert near_duplicates(np.eye(4, dtype=np.float32)).tolist() == [0, 1, 2, 3]


def test_groups_of_copies_are_the_same_in_parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a later image joins two groups, and by way of others in another part."""
    rng = np.random.default_rng(0)
    angles = np.sort(rng.uniform(0, 20, 60))
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)[rng.permutation(60)]
    whole = near_duplicates(vectors)
    assert 1 < len(np.unique(whole)) < 60
    for chunk in (1, 7, 25):
        monkeypatch.setattr("napari_cupre.evaluation.looks._CHUNK", chunk)
        np.testing.assert_array_equal(near_duplicates(vectors), whole)


def test_clusters_balance_the_sampler() -> None:
    diversity = measure_diversity(groups([30, 8, 2]), clusters=3)
    assert np.bincount(diversity.clusters).tolist() == [30, 8, 2]
    weights = diversity.weights()
    assert weights.sum() == pytest.approx(1.0)
    assert [weights[:30].sum(), weights[30:38].sum(), weights[38:].sum()] == pytest.approx([1 / 3] * 3)


def test_copies_share_one_images_weight() -> None:
    features = groups([6, 6], spread=0.3)
    features.vectors[1] = features.vectors[0]
    diversity = measure_diversity(features, clusters=1)
    weights = diversity.weights()
    assert diversity.duplicate_count == 1
    assert weights[0] == weights[1] == pytest.approx(weights[2] / 2)


def test_a_folder_of_its_own_kind_adds_looks_and_a_copy_does_not() -> None:
    old = groups([20, 20]).vectors
    other = groups([0, 0, 10]).vectors
    addition = measure_addition(old, other)
    assert addition.novel.all()
    assert addition.looks_after > addition.looks_before + 0.5
    copy = measure_addition(old, old[:10])
    assert not copy.novel.any()
    assert copy.looks_after < copy.looks_before + 0.1


def test_the_table_names_the_folders(tmp_path: Path) -> None:
    diversity = measure_diversity(groups([12, 4]), clusters=2)
    table = diversity.table()
    assert "folder0" in table
    assert "folder1" in table
    assert "50%" in table
    report = diversity.as_dict()
    assert report["images"] == 16
    assert report["folders"]["folder1"]["coverage"] == 0.5
    assert report["folders"]["folder1"]["adds"] > 0.3
    write_diversity_page(diversity, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") >= 2
    assert "http" not in page


def test_a_backbone_tells_images_apart(tmp_path: Path) -> None:
    fields = SyntheticFields(size=96, seed=1, diameter=(12.0, 16.0))
    for number in range(4):
        image = (np.clip(fields[number].image, 0, 1) * 255).astype(np.uint8)
        iio.imwrite(tmp_path / f"{number}.png", image)
        iio.imwrite(tmp_path / f"{number}-copy.png", image)
    (tmp_path / "broken.png").write_bytes(b"no")
    paths = sorted(tmp_path.glob("*.png"))
    steps = Steps(extract_features(paths, new_model("tiny")))
    done = [event.done for event in steps][-1]
    features = steps.result
    assert done == 9
    assert [path.name for path, _ in features.skipped] == ["broken.png"]
    assert np.allclose(np.linalg.norm(features.vectors, axis=1), 1.0, atol=1e-5)
    diversity = measure_diversity(features)
    assert diversity.duplicate_count >= 4
    names = [path.stem.removesuffix("-copy") for path in features.paths]
    assert all(
        names[n] == names[n ^ 1] and diversity.duplicates[n] == diversity.duplicates[n ^ 1] for n in range(8)
    )


def test_no_readable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(InputError, match="None of the 1 images can be read"):
        list(extract_features([tmp_path / "broken.png"], new_model("tiny")))
