"""The tables of `proof.py`: means, and paired differences of CUPre to its rivals with 95 % intervals.

Two intervals are given. Student's t treats every pair (kind, seed) as independent, which pairs of one kind
are not. The hierarchical bootstrap draws kinds with replacement, then seeds within each: it is wider, and
says what to expect of another kind of image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from rows import Row

CUPRE = ("cupre", "cupre_target")
DRAWS = 10_000
SCORE = "ap50"

Pairs = dict[str, list[float]]
"""Differences by kind, one for each seed."""


def report(rows: Sequence[Row]) -> str:
    """All tables as Markdown; only what was run with every start counts."""
    scores = balanced(rows)
    shots = sorted({key[1] for key in scores})
    starts = list(dict.fromkeys(str(row["start"]) for row in rows))
    lines = [f"{SCORE.upper()}, mean over seeds; {len(rows)} rows, {len(scores)} of kind x images x seed"]
    for count in shots:
        lines += ["", f"**{count} annotated images**", "", *means(scores, starts, count)]
    lines += ["", "**Paired differences**", "", *differences(scores, starts, shots)]
    return "\n".join(lines)


def balanced(rows: Sequence[Row]) -> dict[tuple[str, int, int], dict[str, float]]:
    """Scores by start of each kind, number of images and seed that was run with all its starts."""
    found: dict[tuple[str, int, int], dict[str, float]] = defaultdict(dict)
    for row in rows:
        key = (str(row["kind"]), int(row["shots"]), int(row["seed"]))
        found[key][str(row["start"])] = float(row[SCORE])
    wanted: dict[tuple[str, int], set[str]] = defaultdict(set)
    for (kind, shots, _), scores in found.items():
        wanted[kind, shots] |= set(scores)
    return {key: scores for key, scores in found.items() if set(scores) == wanted[key[:2]]}


def means(scores: dict[tuple[str, int, int], dict[str, float]], starts: list[str], shots: int) -> list[str]:
    """A row for each kind and one for the mean over kinds, a column for each start."""
    kinds = list(dict.fromkeys(kind for kind, count, _ in scores if count == shots))
    lines = ["| kind | seeds | " + " | ".join(starts) + " |", "|---" * (len(starts) + 2) + "|"]
    columns: dict[str, list[float]] = defaultdict(list)
    for kind in kinds:
        members = [each for key, each in scores.items() if key[:2] == (kind, shots)]
        cells = []
        for start in starts:
            values = [each[start] for each in members if start in each]
            cells.append(f"{np.mean(values):.3f}" if values else "")
            columns[start] += [float(np.mean(values))] if values else []
        lines.append(f"| {kind} | {len(members)} | " + " | ".join(cells) + " |")
    # A mean over other kinds than its neighbour's would mislead.
    whole = [f"{np.mean(columns[s]):.3f}" if len(columns[s]) == len(kinds) else "" for s in starts]
    return [*lines, "| mean | | " + " | ".join(whole) + " |"]


def differences(
    scores: dict[tuple[str, int, int], dict[str, float]], starts: list[str], shots: Sequence[int]
) -> list[str]:
    """A row for each of CUPre's starts, rival and number of annotated images, and for all that train."""
    lines = [
        "| start | against | images | pairs | difference | t over pairs | bootstrap of kinds | better |",
        "|---|---|---|---|---|---|---|---|",
    ]
    trained = [count for count in shots if count > 0]
    for ours in [start for start in CUPRE if start in starts]:
        for rival in [start for start in starts if start != ours]:
            for name, counts in [*((str(count), [count]) for count in shots), ("all above 0", trained)]:
                pairs = paired(scores, ours, rival, counts)
                if pairs:
                    lines.append(f"| {ours} | {rival} | {name} | {difference(pairs)} |")
    return lines


def paired(
    scores: dict[tuple[str, int, int], dict[str, float]], ours: str, rival: str, counts: Sequence[int]
) -> Pairs:
    """Differences of two starts on the same kind, images and seed; the mean over `counts` is one pair."""
    found: dict[tuple[str, int], dict[int, float]] = defaultdict(dict)
    for (kind, shots, seed), each in scores.items():
        if shots in counts and ours in each and rival in each:
            found[kind, seed][shots] = each[ours] - each[rival]
    pairs: Pairs = defaultdict(list)
    for (kind, _), values in found.items():
        pairs[kind].append(float(np.mean(list(values.values()))))
    return pairs


def difference(pairs: Pairs) -> str:
    """Number of pairs, mean, both 95 % intervals, and in how many pairs ours is better."""
    values = np.concatenate([np.array(each) for each in pairs.values()])
    low, high = t_interval(values)
    near, far = bootstrap_interval(pairs)
    better = int((values > 0).sum())
    return (
        f"{len(values)} | {values.mean():+.3f} | {low:+.3f} to {high:+.3f} | "
        f"{near:+.3f} to {far:+.3f} | {better}"
    )


def t_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's 95 % interval of a mean; not a number for a single value."""
    from scipy.stats import t

    if len(values) < 2:
        return float("nan"), float("nan")
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean() - half), float(values.mean() + half)


def bootstrap_interval(pairs: Pairs) -> tuple[float, float]:
    """Percentiles 2.5 and 97.5 of the mean over kinds, drawn with replacement, as the seeds of each are."""
    rng = np.random.default_rng(0)
    kinds = [np.array(each) for each in pairs.values()]
    # The mean over seeds of one kind, drawn anew for each of the places that the drawn kinds take.
    places = np.stack([_resampled(rng, values, len(kinds)) for values in kinds], axis=-1)
    chosen = rng.integers(len(kinds), size=(DRAWS, len(kinds)))
    drawn = np.take_along_axis(places, chosen[..., None], axis=-1)[..., 0].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


def _resampled(rng: np.random.Generator, values: np.ndarray, times: int) -> np.ndarray:
    """Means of values drawn with replacement, (DRAWS, times)."""
    means: np.ndarray = values[rng.integers(len(values), size=(DRAWS, times, len(values)))].mean(axis=-1)
    return means
