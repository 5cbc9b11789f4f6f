from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import napari_cupre as cupre
from napari_cupre.data.image import CellImage
from napari_cupre.errors import InputError
from napari_cupre.events import Event, Finished, StepDone
from napari_cupre.model.checkpoint import Model, new_model, read_info


@pytest.fixture(scope="module")
def model() -> Model:
    return new_model("tiny")


def field(dtype: str = "uint8") -> tuple[np.ndarray, np.ndarray]:
    """Six bright squares on dark ground, and their labels."""
    labels = np.zeros((96, 96), np.int32)
    for i in range(6):
        top, left = 10 + 40 * (i // 3), 8 + 30 * (i % 3)
        labels[top : top + 16, left : left + 16] = i + 1
    noise = np.random.default_rng(0).normal(0, 5, labels.shape)
    return (np.where(labels > 0, 100, 20) + noise).astype(dtype), labels


def test_load_finetune_predict_evaluate(model: Model, tmp_path: Path) -> None:
    image, labels = field()
    told: list[Event] = []
    before = {key: value.clone() for key, value in model.network.state_dict().items()}
    out = tmp_path / "own.safetensors"
    trained = cupre.finetune(model, [image, image], [labels, labels], steps=2, out=out, on_event=told.append)
    assert sum(isinstance(event, StepDone) for event in told) == 2
    assert isinstance([event for event in told if isinstance(event, Finished)][-1], Finished)
    assert trained.info.diameter == pytest.approx(18, abs=0.5)
    assert all((before[key] == value).all() for key, value in model.network.state_dict().items())
    assert read_info(out).training["steps"] == 2

    instances = cupre.predict(cupre.load_model(out, device="cpu"), image, score=0.0)
    assert instances.labels.shape == image.shape
    assert instances.labels.dtype == np.int32
    assert len(instances.scores) == len(instances.boxes) == instances.labels.max()
    report = cupre.evaluate([labels], [labels])
    assert report.ap == report.ap50 == report.ap75 == report.f1 == 1


def test_what_is_known(model: Model) -> None:
    from napari_cupre.api import _shots

    image, labels = field()
    square = np.array([[0, 0], [0, 50], [50, 50], [50, 0]])
    (whole,) = _shots([image], [labels], None, partial=False, model=model)
    (some,) = _shots([image], [labels], None, partial=True, model=model)
    (inside,) = _shots([image], [labels], [[square]], partial=False, model=model)
    assert whole.known.all()
    assert inside.known[:50, :50].all()
    assert not inside.known.all()
    assert 0 < some.known.mean() < 1


def test_images_of_several_kinds(model: Model) -> None:
    image, _ = field("float32")
    rgb = np.stack([image] * 3, axis=-1)
    channels = CellImage.from_array(np.stack([image] * 5), "CYX")
    for kind in (image, rgb.astype("uint8"), image.astype("int16"), channels):
        assert cupre.predict(model, kind, diameter=20).labels.shape == (96, 96)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": []}, "1 images but 0 label images"),
        ({"regions": []}, "1 images but 0 lists of regions"),
        ({"labels": [np.zeros((4, 4), int)]}, r"\(96, 96\).*\(4, 4\)"),
        ({"labels": [np.zeros((96, 96), int)]}, "No cell is annotated"),
        ({"minutes": -1.0}, "minutes is -1.0: it must be above 0"),
    ],
)
def test_refusals(model: Model, change: dict, words: str) -> None:
    image, labels = field()
    arguments = {"images": [image], "labels": [labels], "steps": 1, **change}
    with pytest.raises(InputError, match=words):
        cupre.finetune(model, **arguments)


def test_a_stack_is_not_one_plane(model: Model) -> None:
    stack = CellImage.from_array(np.zeros((3, 32, 32), np.uint8), "ZYX")
    with pytest.raises(InputError, match="3 planes"):
        cupre.predict(model, stack)


def test_no_part_takes_the_name_of_a_function() -> None:
    """Importing a submodule puts it into the package: it must not hide `cupre.evaluate` and the others."""
    for name in cupre.__all__[1:]:
        assert not isinstance(getattr(cupre, name), ModuleType), name
    truth = np.eye(8, dtype=np.int32)
    assert cupre.evaluate([truth], [truth]).ap == 1


def test_a_model_is_given_the_channels_it_learned_from(model: Model) -> None:
    image, labels = field()
    stack = CellImage.from_array(np.stack([np.zeros_like(image)] * 3 + [image]), "CYX")
    own = model.copy(training={"channels": [3]})
    alone = cupre.predict(model, image, score=0.0)
    found = cupre.predict(own, stack, score=0.0)
    np.testing.assert_array_equal(found.labels, alone.labels)
    array, box = np.stack([image, image.T], axis=-1), [[8.0, 10.0, 24.0, 26.0]]
    last = model.copy(training={"channels": [1]})
    one, other = (cupre.outline(each, array, boxes=box) for each in (model, last))
    np.testing.assert_array_equal(one.scores, other.scores, "the owner of an array chose its channels")
    stack.channels = (3,)
    trained = cupre.finetune(model, [stack], [labels], steps=1)
    assert trained.info.training["channels"] == [3]
