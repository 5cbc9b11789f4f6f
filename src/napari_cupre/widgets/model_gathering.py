"""Collect all models that a user may choose: rounds of projects, own and included models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_cupre.errors import CupreError
from napari_cupre.model.cards import ModelCard, read_card
from napari_cupre.model.zoo import SHIPPED, bundled_path, list_models
from napari_cupre.project.disk import current
from napari_cupre.project.document import DOCUMENT, Round, read_document
from napari_cupre.project.recent import recent_projects
from napari_cupre.project.recovery import scratch_projects
from napari_cupre.words import counted

OWN, SHIPS = "Your models", "Included in napari-cupre"


@dataclass(frozen=True)
class ListedModel:
    """One model of the list.

    Attributes
    ----------
    title : str
        "v2 (best)", or its name.
    value : str
        Name or path, as the docks expect it.
    group : str
        Name of its project, or `OWN` or `SHIPS`.
    card : ModelCard
        The description in its file.
    project : Path or None
        Folder of its project, if it is a round.
    round : Round or None
        The project's entry of the round.
    is_open : bool
        Whether its project is open in this window.
    """

    title: str
    value: str
    group: str
    card: ModelCard
    project: Path | None = None
    round: Round | None = None
    is_open: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is in the user's folder of models."""
        return self.group == OWN

    def text(self) -> str:
        """Return the model card as lines of text."""
        parts: list[tuple[str, str]] = []
        entry = self.round
        if entry is not None:
            regions = f", {counted(entry.regions, 'region')}" if entry.regions else ""
            data = f"{counted(entry.cells, 'cell')} in {counted(entry.images, 'image')}{regions}"
            parts.append(("learned from", data))
            parts.append(("started from", entry.parent_title))
            if words := entry.verdict.get("words"):
                parts += [("verdict", str(words)), ("figures", "")]  # as counts, and only if there are any
        known = {title for title, _ in parts}
        parts += [(title, text) for title, text in self.card.lines() if title not in known]
        parts.append(("written", self.card.changed))
        resume = f", and {megabytes(self.card.run_size)} for Resume" if self.card.run_size else ""
        parts.append(("size", megabytes(self.card.size) + resume))
        return "\n".join(f"{title}: {text}" for title, text in parts if text)


def gathered(
    folder: Path | None, rounds: Sequence[tuple[Round, Path]], best: int | None
) -> list[ListedModel]:
    """Return all models; reads their headers, not their weights.

    Parameters
    ----------
    folder : Path or None
        Folder of the open project.
    rounds : sequence of (Round, Path)
        Rounds of the open project, with their models.
    best : int or None
        Number of the best one.
    """
    found: list[ListedModel] = []
    if folder is not None:
        found += _of_project(folder, rounds, best, True)
    for other in (*recent_projects(), *scratch_projects()):
        if folder is None or other.resolve() != folder.resolve():
            found += _of_other(other)
    own: list[ListedModel] = []
    shipped: list[ListedModel] = []
    for entry in list_models():
        if entry.path is None:
            continue
        ships = entry.name in SHIPPED and entry.path == bundled_path(entry.name)
        listed = ListedModel(entry.name, entry.name, SHIPS if ships else OWN, read_card(entry.path))
        (shipped if ships else own).append(listed)
    return [*found, *own, *shipped]


def _of_other(folder: Path) -> list[ListedModel]:
    """Return the rounds of a project that is not open in this window."""
    try:
        document = read_document(current(folder, DOCUMENT))
    except (CupreError, OSError):
        return []
    files = [folder / "models" / Path(each.model.replace("\\", "/")).name for each in document.rounds]
    there = [(each, file) for each, file in zip(document.rounds, files) if file.is_file()]
    return list(_of_project(folder, there, document.best, False))


def _of_project(
    folder: Path, rounds: Sequence[tuple[Round, Path]], best: int | None, is_open: bool
) -> Iterator[ListedModel]:
    for entry, file in sorted(rounds, key=lambda each: -each[0].number):
        title = f"{entry.name} (best)" if entry.number == best else entry.name
        yield ListedModel(title, str(file), folder.stem, read_card(file), folder, entry, is_open)


def total_words(models: Sequence[ListedModel]) -> str:
    """Say how much disk space all models take."""
    own = [model for model in models if model.is_own]
    rounds = [model for model in models if model.round is not None]
    parts = []
    for listed, one, many in (
        (own, "model of yours", "models of yours"),
        (rounds, "round of a project", "rounds of projects"),
    ):
        if listed:
            size = megabytes(sum(each.card.size for each in listed))
            parts.append(f"{counted(len(listed), one, many)}, {size}")
    kept = sum(each.card.run_size for each in (*own, *rounds))
    if kept:
        parts.append(f"what Resume needs {megabytes(kept)}")
    return f"On disk: {'; '.join(parts)}." if parts else "You have no models yet: train one."


def megabytes(size: int) -> str:
    """Format a size in bytes.

    Examples
    --------
    >>> megabytes(11_560_000), megabytes(300_000), megabytes(3_241_000_000)
    ('12 MB', '0.3 MB', '3.2 GB')
    """
    amount = size / 1e6
    if amount >= 1000:
        return f"{amount / 1000:.1f} GB"
    return f"{amount:.0f} MB" if amount >= 10 else f"{amount:.1f} MB"
