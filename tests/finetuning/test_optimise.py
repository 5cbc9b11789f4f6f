"""Learning rates follow how well the start finds the annotated cells."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_cupre.finetuning.finetune_optimiser import FAMILIAR, RATES, make_optimiser, rates
from napari_cupre.model.checkpoint import new_model


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_better_the_start_the_smaller_the_rates(one: float, other: float) -> None:
    worse, better = sorted((one, other))
    for low, high in zip(rates(better), rates(worse)):
        assert low <= high
    assert rates(0) == pytest.approx(RATES[1])
    assert rates(1) == pytest.approx(RATES[0])


@pytest.mark.parametrize(("skill", "frozen"), [(0.0, False), (FAMILIAR, True), (0.9, True)])
def test_early_layers_are_kept_only_where_they_know_the_cells(skill: float, frozen: bool) -> None:
    network = new_model("tiny").network
    optimiser = make_optimiser(network, skill)
    early = {id(p) for p in network.backbone.early_parameters()}
    trained = {id(p) for group in optimiser.param_groups for p in group["params"]}
    assert early
    assert early.isdisjoint(trained) == frozen
