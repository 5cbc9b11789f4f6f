"""The table of cells as a layer's `features`: what napari shows, sorts and selects."""

from __future__ import annotations

import numpy as np
import pandas as pd

from napari_cupre.project.cells import Cells

MOST_GAPS = 10_000


def features_of(cells: Cells) -> pd.DataFrame:
    """A row for each cell: its number, state, score and area.

    napari's table takes the position of a row for a label, so unused numbers have rows too, with no state,
    unless there are very many; other parts of napari look up "index".
    """
    numbers = cells.numbers()
    top = numbers[-1] if numbers else 0
    if top - len(numbers) <= MOST_GAPS:
        numbers = list(range(top + 1))
    rows = [cells.rows.get(number) for number in numbers]
    return pd.DataFrame(
        {
            "index": np.array(numbers, np.int64),
            "state": ["" if row is None else str(row.state) for row in rows],
            "score": [np.nan if row is None else row.score for row in rows],
            "area": [0 if row is None else row.area for row in rows],
        }
    )
