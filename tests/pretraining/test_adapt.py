"""Synthetic fields in the light of real images."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from napari_cupre.errors import InputError
from napari_cupre.io.unlabelled import UnlabelledIndex
from napari_cupre.pretraining.adapt import RealLight, relit
from napari_cupre.pretraining.labelled_sources import SyntheticSource
from napari_cupre.pretraining.pretrain_run import PretrainRun
from napari_cupre.pretraining.pretrain_settings import PretrainSettings
from napari_cupre.pretraining.start import light_fields, make_sources
from napari_cupre.synthetic import draw_field


def _skew(image: np.ndarray) -> float:
    values = image[..., 0]
    return float(np.mean((values - values.mean()) ** 3) / values.std() ** 3)


def test_grey_values_move_towards_those_of_the_real_image() -> None:
    rng = np.random.default_rng(0)
    image = np.repeat(rng.random((64, 64, 1), dtype=np.float32), 3, 2)
    dark = (rng.random((50, 70, 1), dtype=np.float32)) ** 4
    new = [relit(np.random.default_rng(seed), image, dark) for seed in range(8)]
    assert all(each.shape == image.shape and each.dtype == np.float32 for each in new)
    assert max(_skew(each) for each in new) > 0.8 > 0.2 > abs(_skew(image))
    assert all((each[..., 0] == each[..., 1]).all() for each in new)


def test_edges_stay_where_they_are() -> None:
    noise = np.random.default_rng(0).normal(0, 0.05, (2, 64, 64, 1)).astype(np.float32)
    image = np.repeat(noise[0], 3, 2)
    image[20:40, 24:44] += 1
    real = 0.5 + 0.5 * np.sin(2 * np.pi * np.arange(64) / 64)[None, :, None].astype(np.float32) + noise[1]
    for seed in range(8):
        new = relit(np.random.default_rng(seed), image, real)[..., 0]
        steps = np.abs(np.diff(new[22:38].mean(axis=0)))
        assert set(np.argsort(steps)[-2:]) == {23, 43}


def test_colour_takes_its_light_from_colour_alone() -> None:
    field = draw_field(np.random.default_rng(1), 64, "histology")
    assert relit(np.random.default_rng(0), field.image, np.zeros((9, 9, 1), np.float32)) is field.image
    real = np.random.default_rng(2).random((64, 64, 3), dtype=np.float32)
    assert not np.array_equal(relit(np.random.default_rng(0), field.image, real), field.image)


def test_a_field_is_the_same_whoever_draws_it(
    small: Callable[..., PretrainSettings], unlabelled: Path, tmp_path: Path
) -> None:
    settings = small(objective="supervised", real_light=1.0)
    sources = make_sources(settings, 24.0)
    plain = sources.mixed[0][0].draw(np.random.default_rng(3), [])
    light_fields(settings, sources, UnlabelledIndex.build(tmp_path / "index.sqlite", [unlabelled]))
    (source, _), (held, _) = sources.mixed[0], sources.held_out[0]
    assert isinstance(source, SyntheticSource)
    assert isinstance(held, SyntheticSource)
    assert isinstance(source.light, RealLight)
    assert held.light is None
    copy = pickle.loads(pickle.dumps(source))
    first, second = (each.draw(np.random.default_rng(3), []) for each in (source, copy))
    assert np.array_equal(first.image, second.image)
    assert np.array_equal(first.labels, plain.labels)
    assert not np.array_equal(first.image, plain.image)


def test_a_supervised_run_takes_its_light_from_unlabelled_images(
    small: Callable[..., PretrainSettings], tmp_path: Path
) -> None:
    run = PretrainRun(small(objective="supervised", real_light=0.5, iterations=2), tmp_path / "run")
    list(run.events())
    assert (tmp_path / "run" / "model.safetensors").is_file()
    with pytest.raises(InputError, match=r"real_light is 0\.5"):
        PretrainRun(small(objective="supervised", real_light=0.5, unlabelled=()), tmp_path / "other")
