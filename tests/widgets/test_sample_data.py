"""The samples in napari's menu open with their annotation in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.layers import Layer

from napari_cupre.io.samples import SAMPLES
from napari_cupre.widgets import sample_data
from napari_cupre.widgets.session import Session
from napari_cupre.widgets.snapshot import Snapshot


def test_every_sample_is_in_the_menu() -> None:
    from importlib.resources import files

    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(str(files("napari_cupre") / "napari.yaml"))
    assert {s.key for s in manifest.contributions.sample_data or []} == {info.name for info in SAMPLES}


@pytest.mark.parametrize("name", [info.name for info in SAMPLES])
def test_a_sample_is_annotated_and_its_layers_fit(viewer: Any, name: str) -> None:
    for data in getattr(sample_data, name)():
        viewer.add_layer(Layer.create(*data))
    session = Session.of(viewer)
    (annotation,) = session.annotated()
    assert annotation.image.name == name
    cells = session.make_cells(annotation.image)
    (shot,) = Snapshot.of(cells, annotation.background).shots()
    assert len(np.unique(shot.labels)) > 3, "a few cells are marked"
    assert shot.known.any()
    assert not shot.known.all()
