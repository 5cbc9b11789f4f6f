"""The rounds of a window's project: the next start, the file of the next model, the best round."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_cupre.errors import InputError
from napari_cupre.model.runs import run_path
from napari_cupre.model.zoo import user_path
from napari_cupre.project import rounds
from napari_cupre.project.document import Round
from napari_cupre.project.project import Project
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session


MODELS = "models"


@dataclass(frozen=True)
class RoundEntry:
    """A round in a list of models: name ("v3 (best)"), path of the model, and what it learned from."""

    title: str
    value: str
    tooltip: str


class TrainingRounds(SessionPart):
    """The rounds of the window's project; none without a project."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._folder: Path | None = None
        self._ids: dict[Path, str] = {}
        session.keeper.changed.connect(self._follow_project)
        session.keeper.opened.connect(lambda project: self._take_best())

    def _take_best(self) -> None:
        """Choose the best round of a project that was opened."""
        if (best := self.start()) is not None:
            self._session.model = best

    def _follow_project(self) -> None:
        """Update the models after another project was opened, or the project was moved."""
        project = self._session.keeper.project
        old, self._folder = self._folder, None if project is None else project.folder
        if old == self._folder:
            return
        if project is not None:
            self._ids[project.folder] = project.document.id
        moved = self.where_now(self._session.model)
        if moved is not None:
            self._session.model = str(moved)
        self._session.models_changed.emit()

    def where_now(self, model: str) -> Path | None:
        """Return the file of a round of this project, by its path before the project was moved.

        None for any other model. A round of another project may have the same name.
        """
        project, path = self._session.keeper.project, Path(model)
        if project is None or path.parent.name != MODELS:
            return None
        moved = project.folder / MODELS / path.name
        is_ours = self._ids.get(path.parent.parent) == project.document.id
        return moved if is_ours and moved != path and moved.is_file() else None

    @property
    def folder(self) -> Path | None:
        """Return the folder of the project's models; None without a project."""
        project = self._session.keeper.project
        return None if project is None else project.folder / MODELS

    @property
    def _project(self) -> Project | None:
        project = self._session.keeper.project
        return None if project is None or project.read_only else project

    def entries(self) -> list[RoundEntry]:
        """Return the rounds whose model exists, the best first and then the latest."""
        project = self._session.keeper.project
        if project is None:
            return []
        best = rounds.best_round(project)
        found = []
        for each in sorted(project.document.rounds, key=lambda x: (x != best, -x.number)):
            file = rounds.model_file(project, each)
            if file is not None:
                title = f"{each.name} (best)" if each == best else each.name
                found.append(RoundEntry(title, str(file), _tooltip(each)))
        return found

    def start(self) -> str | None:
        """Return the model that the next round starts from, the best round; None without rounds."""
        project = self._session.keeper.project
        best = None if project is None else rounds.best_round(project)
        file = None if project is None or best is None else rounds.model_file(project, best)
        return None if file is None else str(file)

    def next_out(self) -> Path | None:
        """Return the path for the model of the next round; None without a writable project.

        The number of an interrupted training is not used again, because it can still be resumed.
        """
        project = self._project
        if project is None:
            return None
        out = rounds.next_model(project)
        while out.exists() or run_path(out).exists():
            project.document.next_round += 1
            out = rounds.next_model(project)
        return out

    def is_round(self, out: Path) -> bool:
        """Whether a model file belongs to the project."""
        project = self._project
        return project is not None and out.parent == project.folder / MODELS

    def settle(self, held: dict[str, str]) -> None:
        """Store what is held out of images, by stem; no later round learns from it."""
        project = self._project
        if project is None or not held:
            return
        for entry in project.images:
            entry.held = held.get(entry.stem, entry.held)
        self._session.keeper.touch()

    def enter(self, out: Path, start: str, verdict: dict[str, Any]) -> Round | None:
        """Add a finished training as a round; return None if it does not belong to the open project.

        Parameters
        ----------
        out : Path
            The model file, as returned by `next_out`.
        start : str
            Name or path of the model it started from.
        verdict : dict of str to Any
            The verdict on it; {"better": True} makes it the best round.
        """
        project = self._project
        if project is None or not self.is_round(out) or not out.is_file():
            return None
        number = _number(out)
        if number is None or any(each.number == number for each in project.document.rounds):
            return None
        later, project.document.next_round = project.document.next_round, number
        entered = rounds.add_round(project, self._parent(start), verdict)
        project.document.next_round = max(later, number + 1)
        self._session.keeper.touch()
        return entered

    def _parent(self, start: str) -> str:
        """Return how a round names the model it started from, so that no other can be meant."""
        start = str(self.where_now(start) or start)
        is_own = rounds.is_round_name(start) and user_path(start).is_file()
        return str(user_path(start)) if is_own else self.name_of(start)

    def name_of(self, value: str) -> str:
        """Return the user's name for a model: "v2" for a round, else its name."""
        path = Path(value)
        return path.stem if self.is_round(path) else value

    def go_back(self, name: str) -> str:
        """Make an earlier round the best one again; return its model.

        Raises
        ------
        InputError
            There is no such round in this project, or its model is gone.
        """
        project = self._project
        found = None
        if project is not None:
            found = next((each for each in project.document.rounds if each.name == name), None)
        file = None if project is None or found is None else rounds.model_file(project, found)
        if project is None or found is None or file is None:
            raise InputError(f"There is no round {name} to go back to: choose a model from the list.")
        rounds.choose_best(project, found.number)
        self._session.keeper.touch()
        return str(file)


def _number(out: Path) -> int | None:
    digits = out.stem.removeprefix("v")
    return int(digits) if digits.isdecimal() else None


def _tooltip(entry: Round) -> str:
    learned = f"{counted(entry.cells, 'cell')} of {counted(entry.images, 'image')}"
    lines = [f"Trained on {learned}, from {entry.parent_title}"]
    if words := entry.verdict.get("words"):
        lines.append(str(words))
    return "\n".join(lines)
