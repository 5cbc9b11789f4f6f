"""The table of cells as a layer's `features`, which napari shows, sorts and selects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.project.cells import Cells, State

if TYPE_CHECKING:
    import pandas as pd

MOST_GAPS = 10_000


def features_of(cells: Cells, classes: Mapping[int, str]) -> pd.DataFrame:
    """Return a row for each cell: number, state, score, area and, if a model knows several, class.

    napari's table uses the position of a row as its label, so unused numbers get rows without a state too,
    unless there are very many. Other parts of napari look up the column "index".
    """
    import pandas as pd  # 300 modules, which `first_labels` loads in advance

    numbers = cells.numbers()
    top = numbers[-1] if numbers else 0
    if top - len(numbers) <= MOST_GAPS:
        numbers = list(range(top + 1))
    rows = [cells.rows.get(number) for number in numbers]
    table = pd.DataFrame(
        {
            "index": np.array(numbers, np.int64),
            "state": [np.nan if row is None else str(row.state) for row in rows],
            "score": [np.nan if row is None else row.score for row in rows],
            "area": [np.nan if row is None else float(row.area) for row in rows],
        }
    )
    if classes:
        table["class"] = [classes.get(number, np.nan) for number in numbers]
    return table


def told_by(features: pd.DataFrame) -> tuple[dict[int, State], dict[int, float]]:
    """Return the states and scores by number from a layer's features; empty if they contain none."""
    if "index" not in features:
        return {}, {}
    numbers = [int(number) for number in features["index"]]
    known = {str(state): state for state in State}
    states = {n: known[s] for n, s in zip(numbers, features.get("state", ())) if s in known}
    scores = {n: float(score) for n, score in zip(numbers, features.get("score", ()))}
    return states, scores
