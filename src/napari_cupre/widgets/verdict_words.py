"""The result of a comparison in words and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_cupre.evaluation.decision import ENOUGH_CELLS, Decision, Outcome
from napari_cupre.evaluation.side_by_side import Compared, judged_on, report_of, tally_of, verdict_on
from napari_cupre.words import counted

SAME, MANY = 0.99, 0.3
"""If at least this share of cells has a model's outline to the pixel, the model drew them itself."""

Column = tuple[str, str]


def columns_for(names: Sequence[str], with_truth: bool) -> list[Column]:
    """Return the titles and tooltips of the table's columns.

    Parameters
    ----------
    names : sequence of str
        Names of one or two models.
    with_truth : bool
        Whether there are checked or edited cells.
    """
    found = [("image", "Click a row to show the image with the differences")]
    if with_truth:
        found.append(("cells", "Cells that you checked or edited"))
        for title, tooltip in (
            ("finds", "Your cells that {} finds, at an overlap (IoU) of 0.5 or more"),
            ("invents", "Objects of {} that match none of your cells, where every cell is annotated"),
        ):
            found += [(_titled(title, name, names), tooltip.format(name)) for name in names]
        found += [(_titled("AP", name, names), f"AP of {name} over IoU 0.5 to 0.95") for name in names]
        found.append(("new", "yes: neither round has learned from this image"))
    if len(names) == 2:
        found += [
            ("both", "Cells that both find"),
            (f"only {names[0]}", f"Cells that {names[0]} finds alone"),
            (f"only {names[1]}", f"Cells that {names[1]} finds alone"),
        ]
    return found


def _titled(title: str, name: str, names: Sequence[str]) -> str:
    return title if len(names) == 1 else f"{name} {title}"


def row_of(image: Compared, names: Sequence[str], with_truth: bool) -> list[Any]:
    """Return the row of one image, in the columns of `columns_for`."""
    row: list[Any] = [image.name]
    if with_truth:
        scores = image.scores
        blank = [None] * (3 * len(names) + 2)
        if scores:
            row.append(scores[0].truth_count)
            row += [score.true[0] for score in scores]
            row += [score.false[0] for score in scores]
            row += [score.ap for score in scores]
            row.append("yes" if image.is_new else "no")
        else:
            row += blank
    if len(names) == 2:
        row += [image.both, image.only_first, image.only_second]
    return row


def joint_row(images: Sequence[Compared], names: Sequence[str], with_truth: bool) -> list[Any]:
    """Return the row for all images together."""
    row: list[Any] = [f"all {len(images)} images"]
    if with_truth:
        judged = [image for image in images if image.scores]
        pooled = [[image.scores[side] for image in judged] for side in range(len(names))]
        row.append(sum(score.truth_count for score in pooled[0]))
        row += [sum(score.true[0] for score in side) for side in pooled]
        row += [sum(score.false[0] for score in side) for side in pooled]
        reports = [report_of(images, side) for side in range(len(names))]
        row += [None if report is None else report.ap for report in reports]
        row.append("")
    if len(names) == 2:
        row += [sum(getattr(x, which) for x in images) for which in ("both", "only_first", "only_second")]
    return row


def verdict_words(images: Sequence[Compared], names: Sequence[str]) -> tuple[str, str, str]:
    """Return the verdict in counts, its basis, and how to show it.

    Returns
    -------
    (sentence, basis, kind) : tuple of str
        `kind` is "good", "error" or "plain": green or red only for a clear result.
    """
    judged = judged_on(images, ENOUGH_CELLS)
    if not judged:
        both, first, second = (
            sum(getattr(x, which) for x in images) for which in ("both", "only_first", "only_second")
        )
        return (
            f"Both find {counted(both, 'cell')}; {names[0]} alone {first}, {names[1]} alone {second}.",
            "No cell is checked there, so nobody knows which is right: check some to find out.",
            "plain",
        )
    basis = _basis(judged, images)
    if len(names) == 1:
        report = report_of(judged)
        assert report is not None
        figures = f"AP {report.ap:.2f}, AP50 {report.ap50:.2f}, F1 {report.f1:.2f}"
        basis = " ".join(filter(None, [own_guesses(judged, names), basis]))
        return f"{names[0]} {tally_of(judged)}.", f"{figures}, mean over the images. {basis}", "plain"
    found = verdict_on(judged)
    assert found is not None
    if found.after.cells < ENOUGH_CELLS:
        counts = f"{names[1]} {found.after}; {names[0]} {found.before}."
        return f"{counts} {ENOUGH_CELLS} cells are needed to decide.", basis, "plain"
    if own := own_guesses(judged, names):
        counts = f"{names[1]} {found.after}; {names[0]} {found.before}."
        return counts, f"{own} {basis}", "plain"
    kind = {Outcome.BETTER: "good", Outcome.WORSE: "error"}.get(found.outcome, "plain")
    return found.sentence(names[1], names[0]), f"{interval_words(found)} {basis}", kind


def own_guesses(judged: Sequence[Compared], names: Sequence[str]) -> str:
    """Return a warning if a model is judged by its own accepted guesses; else ""."""
    for side, name in enumerate(names):
        iou = np.array([value for image in judged for value in image.finds[side].iou])
        found = iou[iou >= 0.5]
        if len(found) and np.mean(found >= SAME) >= MANY:
            return (
                f"Many of your cells are guesses of {name} that you accepted, which favours it: nothing is "
                "decided. Cells you drew or corrected tell more."
            )
    return ""


def interval_words(found: Decision) -> str:
    """Return the difference of AP with its interval."""
    if np.isnan(found.low):
        return ""
    return (
        f"AP {found.difference:+.2f}, 95 % interval {found.low:+.2f} to {found.high:+.2f}, "
        "paired on the same cells."
    )


def _basis(judged: Sequence[Compared], images: Sequence[Compared]) -> str:
    """Say which images the verdict is based on."""
    count = counted(len(judged), "image")
    if all(image.is_new for image in judged):
        left = len(images) - len(judged)
        rest = f"; the other {left} appear in the table only" if left else ""
        return f"Judged on {count} that no round compared here learned from{rest}."
    return f"Judged on {count} that a round may have learned from: new images tell more."
