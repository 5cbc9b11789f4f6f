"""Rounds of a project (v1, v2, ...): what each learned from, the best one, the next start."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any

from napari_cupre.errors import InputError
from napari_cupre.project.cells import State, utc_now
from napari_cupre.project.document import Round
from napari_cupre.project.project import Project
from napari_cupre.project.shots import taught_labels

BUNDLED = "cupre"


def annotation_hash(project: Project) -> tuple[str, dict[str, int]]:
    """Return a hash of all annotation to learn from, and its amount: "cells", "images" and "regions".

    Guesses, names and times do not count. The same annotation has the same hash on every machine.
    """
    digest = hashlib.sha256()
    counts = {"cells": 0, "images": 0, "regions": 0}
    for entry, cells in project.all_cells():
        taught = cells.count(State.CHECKED, State.EDITED)
        if not (taught or cells.regions):
            continue
        counts["cells"] += taught
        counts["images"] += 1
        counts["regions"] += len(cells.regions)
        digest.update(f"{entry.place}{entry.channels}{cells.shape}{cells.regions}".encode())
        digest.update(taught_labels(cells).astype("<i4").tobytes())
    return digest.hexdigest()[:32], counts


def next_model(project: Project) -> Path:
    """Return the path for the model of the next round."""
    return project.folder / "models" / f"v{project.document.next_round}.safetensors"


def add_round(project: Project, parent: str, verdict: dict[str, Any] | None = None) -> Round:
    """Add the round whose model was written to `next_model`; save the project afterwards.

    Parameters
    ----------
    parent : str
        The model it started from: "v2" for a round, else its name, or its file; see `is_round_name`.
    verdict : dict[str, Any] or None, optional
        Figures and words of the verdict; {"better": True} makes it the best round.

    Raises
    ------
    InputError
        Its model does not exist.
    """
    model = next_model(project)
    if not model.is_file():
        raise InputError(f'There is no model "{model}": the round did not finish; train again.')
    seen, counts = annotation_hash(project)
    entry = Round(
        number=project.document.next_round,
        model=f"models/{model.name}",
        parent=parent,
        annotation=seen,
        cells=counts["cells"],
        images=counts["images"],
        regions=counts["regions"],
        time=utc_now(),
        verdict=dict(verdict or {}),
    )
    project.document.rounds.append(entry)
    project.document.next_round += 1
    if project.document.best is None or entry.verdict.get("better"):
        project.document.best = entry.number
    return entry


def find_round(project: Project, number: int) -> Round:
    """Return the round of a number.

    Raises
    ------
    InputError
        There is none, or it was deleted.
    """
    for entry in project.document.rounds:
        if entry.number == number:
            return entry
    raise InputError(f"The project has no round v{number}: choose one from the list.")


def model_file(project: Project, entry: Round) -> Path | None:
    """Return the model of a round; None if the file was removed."""
    file = project.folder / "models" / Path(entry.model.replace("\\", "/")).name
    return file if file.is_file() else None


def best_round(project: Project) -> Round | None:
    """Return the round to start from: the best one, else the latest whose model exists; or None."""
    there = [entry for entry in project.document.rounds if model_file(project, entry)]
    best = [entry for entry in there if entry.number == project.document.best]
    return (best or there or [None])[-1]  # type: ignore[list-item]


def choose_best(project: Project, number: int) -> None:
    """Make a round the best one ("Back to v2"), so that the next one starts from it.

    Raises
    ------
    InputError
        There is no such round, or its model is gone.
    """
    entry = find_round(project, number)
    if model_file(project, entry) is None:
        missing = f'"{Path(entry.model).name}" is missing in "{project.folder / "models"}"'
        raise InputError(f"{missing}: put the file back, or choose another round.")
    project.document.best = number


def start_from(project: Project) -> tuple[str, str]:
    """Return name and model of the next start: the best round, or the bundled model."""
    best = best_round(project)
    file = None if best is None else model_file(project, best)
    return (best.name, str(file)) if best is not None and file is not None else (BUNDLED, BUNDLED)


def origin(project: Project) -> str:
    """Return the model that the first round started from, which saw nothing of the project."""
    first = min(project.document.rounds, key=lambda entry: entry.number, default=None)
    if first is None:
        return BUNDLED
    # A round starts from an earlier one, which was deleted. Earlier versions entered a user's model that
    # is called "v2" by that name.
    is_round = is_round_name(first.parent) and int(first.parent[1:]) < first.number
    return BUNDLED if is_round else first.parent


def is_round_name(model: str) -> bool:
    """Whether a model is called like a round; one that is none must be told from it by its file.

    Examples
    --------
    >>> is_round_name("v2"), is_round_name("v2b"), is_round_name("cupre")
    (True, False, False)
    """
    return model[:1] == "v" and model[1:].isdecimal()


def delete_round(project: Project, number: int) -> None:
    """Delete a round and its model; its number is never used again. Save the project afterwards.

    Raises
    ------
    InputError
        There is no such round.
    """
    entry = find_round(project, number)
    file = model_file(project, entry)
    project.document.rounds.remove(entry)
    if project.document.best == number:
        project.document.best = None
        best = best_round(project)
        project.document.best = None if best is None else best.number
    project.save()  # a model without its round does less harm than a round without its model
    if file is not None:
        with contextlib.suppress(OSError):
            file.unlink()
