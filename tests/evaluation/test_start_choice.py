"""Which model to start from: cells that others confirm, and above all those that a person vouched for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from napari_cupre.evaluation.start_choice import ENOUGH_MARKED, advise_start

SHAPE = (200, 200)
PLACES = [(row, column) for row in range(5, 190, 20) for column in range(5, 190, 20)]


@dataclass
class Found:
    labels: np.ndarray
    scores: np.ndarray


def drawn(places: list[tuple[int, int]]) -> np.ndarray:
    labels = np.zeros(SHAPE, np.int32)
    for number, (row, column) in enumerate(places, start=1):
        labels[row : row + 10, column : column + 10] = number
    return labels


def search(places: list[tuple[int, int]], score: float = 1.0) -> Found:
    return Found(drawn(places), np.full(len(places), score, np.float32))


def moved(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """So far off that it is no match for the cell."""
    return [(row + 7, column + 7) for row, column in places]


def test_the_model_that_finds_most_is_proposed_with_all_figures() -> None:
    found = {"cells": search(PLACES[:20]), "nuclei": search(PLACES[:40]), "cupre": search(PLACES[10:40])}
    advice = advise_start(found)
    assert advice.best == "nuclei"  # 10 that all find, 10 and 20 that one other finds as well
    assert advice.sentence == "“nuclei” finds 32 cells here (“cupre” 25, “cells” 18)"


def test_of_equal_counts_the_surer_is_proposed() -> None:
    found = {"cells": search(PLACES[:30], 0.5), "nuclei": search(PLACES[:30], 0.9)}
    assert advise_start(found).best == "nuclei"


@pytest.mark.parametrize("score", [0.5, 1.0])
def test_hundreds_of_cells_that_nobody_else_sees_do_not_win(score: float) -> None:
    calm = search(PLACES[:20], 0.8)
    wild = Found(drawn(PLACES[:15] + moved(PLACES)), np.full(15 + len(PLACES), score, np.float32))
    advice = advise_start({"wild": wild, "calm": calm, "third": calm})
    assert advice.best == "calm"
    assert advice.standings[-1].model == "wild"
    assert ("doubtful" in advice.sentence) == (advice.standings[-1].likely > 20)


def test_among_equals_the_first_is_proposed() -> None:
    same = search(PLACES[:9])
    assert advise_start({"b": same, "a": same, "c": search([])}).best == "b"


@pytest.mark.parametrize("count", [0, 2])
def test_where_hardly_anything_is_found_nothing_is_proposed(count: int) -> None:
    advice = advise_start({name: search(PLACES[:count], 0.4) for name in ("cells", "nuclei")})
    assert advice.best == ""
    assert "No model" in advice.sentence
    assert advise_start({}).sentence == ""
    found = {name: search(PLACES[:20]) for name in ("cells", "nuclei")}
    assert "any of your 8 cells" in advise_start(found, drawn(PLACES[30:38])).sentence


def test_a_cell_that_others_hide_is_not_counted() -> None:
    """Of a label that is nowhere in the image there still is a score."""
    labels = drawn(PLACES[:6])
    labels[labels == 3] = 0
    found = Found(labels, np.ones(6, np.float32))
    assert "finds 5 cells" in advise_start({"a": found, "b": found}).sentence


def test_annotated_cells_beat_any_count() -> None:
    """What most models agree on may be none of the cells that a person means."""
    mine = moved(PLACES[:8])
    found = {"cells": search(PLACES), "nuclei": search(PLACES), "cupre": search(mine[:7] + PLACES[30:34])}
    assert advise_start(found, drawn(mine[: ENOUGH_MARKED - 1])).best == "cells"
    advice = advise_start(found, drawn(mine))
    assert advice.best == "cupre"
    assert advice.sentence == "“cupre” finds 7 of your 8 cells here (“cells” 0, “nuclei” 0)"


def test_what_is_invented_in_complete_regions_counts_and_elsewhere_not() -> None:
    others = search(PLACES[:4] + PLACES[10:40])
    found = {"cells": search(PLACES[:40]), "nuclei": search(PLACES[:10]), "cupre": others}
    marked, complete = drawn(PLACES[:10]), np.zeros(SHAPE, bool)
    advice = advise_start(found, marked, complete)
    assert advice.best == "cells"  # both find all ten, and it finds more beside them
    complete[:80] = True
    advice = advise_start(found, marked, complete)
    assert advice.best == "nuclei"
    assert "“nuclei” finds 10 of your 10 cells here" in advice.sentence
    assert "“cells” 10 and 30 false" in advice.sentence


def test_who_finds_more_but_is_not_proposed_is_said_to_be_doubtful() -> None:
    calm = search(PLACES[:20], 0.8)
    wild = search(PLACES[:16] + moved(PLACES), 0.9)
    sentence = advise_start({"wild": wild, "calm": calm, "third": calm}).sentence
    assert sentence == "“calm” finds 15 cells here (“third” 15, “wild” 29 and 57 doubtful)"
