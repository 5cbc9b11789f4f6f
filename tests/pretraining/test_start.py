"""Where a run's weights start, and what its finished model calls a cell."""

from __future__ import annotations

from collections.abc import Callable
from math import log
from pathlib import Path

import pytest
import torch

from napari_cupre.errors import InputError
from napari_cupre.events import Notice
from napari_cupre.io.coco import CocoSource
from napari_cupre.io.unlabelled import UnlabelledIndex
from napari_cupre.model.checkpoint import new_model, read_model, save_model
from napari_cupre.pretraining.pretrain_run import PretrainRun
from napari_cupre.pretraining.pretrain_settings import PretrainSettings, SourceSpec
from napari_cupre.pretraining.start import make_network, make_sources

Make = Callable[..., PretrainSettings]


@pytest.fixture
def of_coco(small: Make, coco: CocoSource, tmp_path: Path) -> Make:
    """Settings whose one source has cats and dogs, and no cell."""
    source = (SourceSpec(str(tmp_path / "coco.json"), str(tmp_path)),)

    def make(**changes: object) -> PretrainSettings:
        return small(**{"source": source, "synthetic": 0.0, "objective": "supervised", **changes})

    return make


def test_what_no_source_teaches_is_any_object_in_the_end(of_coco: Make, tmp_path: Path) -> None:
    """The finished model keeps "cell" alone; pushed down as never right, it would find nothing."""
    run = PretrainRun(of_coco(), tmp_path / "run")
    list(run.events())
    network = run.learner.average.network
    cats_and_dogs = network.heads.box.score.weight[[1, 2]].detach()
    score = read_model(tmp_path / "run" / "model.safetensors", "cpu").network.heads.box.score
    torch.testing.assert_close(score.weight[1], cats_and_dogs.mean(0), atol=1e-3, rtol=1e-2)
    bias = float(network.heads.box.score.bias[[1, 2]].detach().mean()) + log(2)
    assert float(score.bias[1].detach()) == pytest.approx(bias, abs=1e-2)


def test_a_taught_cell_stays_as_it_was_taught(of_coco: Make, tmp_path: Path) -> None:
    run = PretrainRun(of_coco(synthetic=1.0), tmp_path / "run")
    list(run.events())
    network = run.learner.average.network
    row = network.config.classes.index("cell") + 1
    score = read_model(tmp_path / "run" / "model.safetensors", "cpu").network.heads.box.score
    torch.testing.assert_close(score.weight[1], network.heads.box.score.weight[row], atol=1e-3, rtol=1e-2)


@pytest.mark.parametrize(
    "changes",
    [{"batch": 4, "source_groups": 4}, {"contrastive_batch": 4, "bn_splits": 4, "objective": "moco"}],
)
def test_parts_of_one_sample_are_refused_where_the_network_cannot_normalise_them(
    small: Make, changes: dict[str, object]
) -> None:
    settings = small(**{"preset": "resnest50", "objective": "supervised", **changes})
    with pytest.raises(InputError, match="resnest50 needs two samples or more in each part"):
        make_network(settings, make_sources(settings, 24.0))


def test_names_to_leave_out_that_fit_nothing_are_told(small: Make, tmp_path: Path) -> None:
    (tmp_path / "test_set.txt").write_text("000\n001.png\n")
    settings = small(iterations=1, objective="moco", exclude=(str(tmp_path / "test_set.txt"), "002", "x"))
    run = PretrainRun(settings, tmp_path / "run")
    told = [event.message for event in run.events() if isinstance(event, Notice)]
    assert (
        len([message for message in told if "2 of the names" in message and "(001.png, x)" in message]) == 1
    )
    assert len(UnlabelledIndex(tmp_path / "run" / "unlabelled.sqlite")) == 10


def test_new_classes_start_as_what_the_checkpoint_knows(of_coco: Make, tmp_path: Path) -> None:
    """An object is as likely as before; which one it is, is not known yet."""
    start = new_model("tiny", seed=5)
    with torch.no_grad():
        start.network.heads.box.score.bias[:] = torch.tensor([0.3, 1.2])
    save_model(start, tmp_path / "start.safetensors")
    settings = of_coco(init=str(tmp_path / "start.safetensors"))
    sources = make_sources(settings, 24.0)
    network = make_network(settings, sources)
    seen = torch.randn(9, network.heads.box.score.in_features)
    before = start.network.heads.box.score(seen).softmax(1)
    after = network.heads.box.score(seen).softmax(1)
    torch.testing.assert_close(after[:, 0], before[:, 0], atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(after[:, 1], after[:, 2])
    assert network.config.classes == ("cat", "dog", "cell")
