"""The labelled sources: classes, crowds, mixing, and that samples are a function of the seed."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_cupre.data.labels import label_areas
from napari_cupre.data.sample import Sample
from napari_cupre.errors import InputError
from napari_cupre.io.coco import CocoSource
from napari_cupre.pretraining.labelled_sources import (
    CocoFields,
    MixedFields,
    Skipped,
    SyntheticSource,
    collate_fields,
    split_numbers,
)
from napari_cupre.synthetic.looks import registry


def test_a_look_from_outside_reaches_the_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_looks.py").write_text(
        "import numpy as np\n"
        "from napari_cupre.synthetic import Style, register_look\n"
        "@register_look('my_colonies', weight=0.1, style=Style(shapes={'ellipse': 1}))\n"
        "def my_colonies(rng, scene):\n"
        "    return np.full((scene.size, scene.size), 0.5, np.float32)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    try:
        source = SyntheticSource(64, 0, 12.0, {"my_colonies": 1.0}, ["my_looks"])
        registry._LOOKS.pop("my_colonies")
        sys.modules.pop("my_looks")  # as in a loader's process that has just been started
        copy = pickle.loads(pickle.dumps(source))
        assert copy.draw(np.random.default_rng(0), []).image.shape[:2] == (64, 64)
        assert "my_colonies" in registry.LOOKS
        with pytest.raises(InputError, match="no look 'stars'"):
            SyntheticSource(64, 0, 12.0, {"stars": 1.0})
        with pytest.raises(InputError, match="'no_such_module' of look_modules"):
            SyntheticSource(64, 0, 12.0, None, ["no_such_module"])
    finally:
        registry._LOOKS.pop("my_colonies", None)


class _Disks:
    """A source of one image full of disks, in place of files."""

    categories = ("cell",)

    def __init__(self, diameter: int) -> None:
        side = 12 * diameter
        yy, xx = np.mgrid[:side, :side] % (2 * diameter) - diameter
        rows, columns = np.mgrid[:side, :side] // (2 * diameter)
        self.labels = np.where(np.hypot(yy, xx) < diameter / 2, 1 + rows * 6 + columns, 0).astype(np.int32)
        self.index = SimpleNamespace(path=Path("disks.json"))

    def __getitem__(self, number: int) -> Sample:
        image = np.repeat((self.labels > 0)[..., None], 3, 2).astype(np.float32)
        known, classes = np.ones(self.labels.shape, bool), dict.fromkeys(range(1, 37), "cell")
        return Sample(image, self.labels, known, classes)


@pytest.mark.parametrize("diameter", [8, 90])
def test_cells_of_any_size_come_at_the_networks_own(diameter: int) -> None:
    fields = CocoFields(_Disks(diameter), np.arange(1), 128, 24.0)
    drawn = [fields.draw(np.random.default_rng(seed), []).labels for seed in range(12)]
    largest = [2 * np.sqrt(label_areas(labels)[1].max() / np.pi) for labels in drawn if labels.any()]
    assert len(largest) > 6
    assert min(largest) > 24 * 0.5 * 0.8
    assert max(largest) < 24 * 1.6 * 1.2


def test_a_share_of_the_images_comes_as_from_jpeg_files() -> None:
    files = CocoFields(_Disks(24), np.arange(1), 128, 24.0, jpeg=1.0)
    plain = CocoFields(_Disks(24), np.arange(1), 128, 24.0)
    grain = [
        [
            float(np.abs(np.diff(fields.draw(np.random.default_rng(seed), []).image, axis=1)).mean())
            for seed in range(6)
        ]
        for fields in (files, plain)
    ]
    assert grain[0] != grain[1]


def test_classes_follow_their_instances_through_jitter_and_pasting(coco: CocoSource) -> None:
    fields = CocoFields(coco, np.arange(3), 96)
    pasted = 0
    for seed in range(12):
        drawn = fields.draw(np.random.default_rng(seed), [])
        labels = set(np.unique(drawn.labels)) - {0}
        assert drawn.classes is not None
        assert labels <= set(drawn.classes)
        assert set(drawn.classes.values()) <= {"cat", "dog"}
        assert drawn.image.shape == (96, 96, 3)
        assert drawn.labels.shape == (96, 96)
        pasted += len(drawn.classes) > 2
    assert pasted > 0


def test_crowds_are_unknown(coco: CocoSource) -> None:
    fields = CocoFields(coco, np.arange(3), 96)
    known = [fields.draw(np.random.default_rng(seed), []).known for seed in range(8)]
    assert any(not area.all() for area in known)
    assert not coco[0].known[95:110, 110:140].any()


def test_an_unreadable_image_is_reported_and_replaced(coco: CocoSource) -> None:
    fields = CocoFields(coco, np.arange(4), 96)
    skipped: Skipped = []
    for seed in range(20):
        fields.draw(np.random.default_rng(seed), skipped)
    assert skipped
    assert all("4.png" in reason for _, reason in skipped)


def test_sources_are_mixed_by_weight_into_one_set_of_classes(coco: CocoSource) -> None:
    sources = [(CocoFields(coco, np.arange(3), 64), 1.0), (SyntheticSource(64, 0, 12.0), 3.0)]
    mixed = MixedFields(sources, ("cat", "dog", "cell"), seed=2)  # type: ignore[arg-type]
    samples = [mixed[number] for number in range(40)]
    synthetic = [sample for sample in samples if sample.sources == ["synthetic"]]
    assert 22 <= len(synthetic) <= 38
    assert all(set(sample.targets[0].classes.tolist()) <= {3} for sample in synthetic)
    others = [sample for sample in samples if sample.sources != ["synthetic"]]
    assert all(set(sample.targets[0].classes.tolist()) <= {1, 2} for sample in others)
    batch = collate_fields(samples[:3])
    assert batch.images.shape == (3, 3, 64, 64)
    assert len(batch.targets) == 3
    again = MixedFields(sources, ("cat", "dog", "cell"), seed=2)[17]  # type: ignore[arg-type]
    assert torch.equal(again.images, samples[17].images)
    assert torch.equal(again.targets[0].instances, samples[17].targets[0].instances)


class Empty:
    """A source whose fields hold no instance."""

    name = "empty"
    classes = ("cell",)

    def draw(self, rng: np.random.Generator, skipped: Skipped) -> Sample:
        return Sample.complete(np.zeros((32, 32, 3), np.float32), np.zeros((32, 32), np.int32))


def test_a_field_without_instances_is_a_valid_target() -> None:
    target = MixedFields([(Empty(), 1.0)], ("cell",), 0)[0].targets[0]
    assert len(target) == 0
    assert target.boxes.shape == (0, 4)


@pytest.mark.parametrize("count", [1, 2, 10, 645, 100_000])
def test_held_out_images_are_no_training_images(count: int) -> None:
    trained, held = split_numbers(count, 3)
    assert 1 <= len(held) <= 200
    assert len(trained) >= 1
    if count > 1:
        assert set(trained) | set(held) == set(range(count))
        assert not set(trained) & set(held)
    assert np.array_equal(split_numbers(count, 3)[1], held)
