"""The benchmarks' split of BBBC038 keeps what is tested away from what is trained on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scripts import load_script

split = load_script("benchmarks/split.py")


@pytest.fixture(scope="module")
def fields():
    root = split.data_folder() / "bbbc038"
    if not root.is_dir():
        pytest.skip("BBBC038 is not there")
    return split.bbbc038_fields(root)


@pytest.fixture
def parts(fields):
    return split.draw_split(fields, seed=0)


def test_sizes_and_disjointness(parts):
    assert [len(parts[f"test_{kind}"]) for kind in split.TEST_SIZES] == [60, 20, 4]
    tested = {identifier for kind in split.TEST_SIZES for identifier in parts[f"test_{kind}"]}
    trained = set(parts["pretrain_unlabelled"])
    assert trained == {identifier for kind in split.TEST_SIZES for identifier in parts[f"shots_{kind}"]}
    assert len(tested) == 84
    assert not tested & trained
    assert not split.sample_ids() & (tested | trained)
    assert len(tested | trained | split.sample_ids() | set(parts["unused"])) == 664
    assert len(trained) > 500


def test_no_field_is_on_both_sides(fields, parts):
    assert max(map(len, fields["histology"])) >= 4
    for kind in split.TEST_SIZES:
        tested = set(parts[f"test_{kind}"])
        away = set(parts[f"shots_{kind}"]) | split.sample_ids()
        assert not [field for field in fields[kind] if tested & set(field) and away & set(field)]


def test_the_seed_decides(fields, parts):
    assert split.draw_split(fields, seed=0) == parts
    assert split.draw_split(fields, seed=1)["test_fluorescence"] != parts["test_fluorescence"]


def test_tiles_of_one_field_are_recognised(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for field in "ab":
        pixels = np.kron(rng.integers(0, 255, (16, 16)), np.ones((8, 8))).astype(np.uint8)
        for name, tile in (("0", pixels[:60, :60]), ("1", pixels[:60, 60:120]), ("2", pixels[60:120, :60])):
            Image.fromarray(tile).save(tmp_path / f"{field}{name}.png")
            rows.append({"id": f"{field}{name}", "height": "60", "width": "60"})
    assert split.fields_of_view(tmp_path, rows) == [["a0", "a1", "a2"], ["b0", "b1", "b2"]]
