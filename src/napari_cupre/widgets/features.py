"""The table of cells as a layer's `features`: what napari shows, sorts and selects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from napari_cupre.project.cells import Cells, State

if TYPE_CHECKING:
    import pandas as pd

MOST_GAPS = 10_000


def features_of(cells: Cells, classes: Mapping[int, str]) -> pd.DataFrame:
    """A row for each cell: its number, state, score, area and, where a model knows several, its class.

    napari's table takes the position of a row for a label, so unused numbers have rows too, with no state,
    unless there are very many; other parts of napari look up "index".
    """
    import pandas as pd  # 300 modules, which `first_labels` loads before anybody waits

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
    """States and scores by number, as the features of a layer tell them; nothing where they tell none."""
    if "index" not in features:
        return {}, {}
    numbers = [int(number) for number in features["index"]]
    known = {str(state): state for state in State}
    states = {n: known[s] for n, s in zip(numbers, features.get("state", ())) if s in known}
    scores = {n: float(score) for n, score in zip(numbers, features.get("score", ()))}
    return states, scores
