"""Keep the project of a window: find it for each annotated image, and save it in the background."""

from __future__ import annotations

import contextlib
import time
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Image
from psygnal import Signal

from napari_cupre.data.image import CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.project import gestures, recovery
from napari_cupre.project.cells import Cells
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.lock import ProjectLocked
from napari_cupre.project.project import Project
from napari_cupre.project.recent import remember_project, remember_shown
from napari_cupre.project.unsaved import SaveReport
from napari_cupre.widgets.cells_layer import StoredCells
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.lost_work import LostWork
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.sources import is_open_here, leave, prepared, sentence_of, source_of, written
from napari_cupre.widgets.state_colours import StateColormap
from napari_cupre.widgets.timers import single_timer

if TYPE_CHECKING:
    from napari_cupre.widgets.cells_layer import CellsLayer
    from napari_cupre.widgets.session import Session

SAVE_MS = 2000
"""Delay of a save after a gesture; the next gesture saves the previous one at once."""

RETRY_MS = 15_000
REST = 3.0
"""A save waits this many times as long as the last one took: large images are not saved all the time."""


class Keeper(SessionPart):
    """Saves what the user does in one viewer."""

    changed = Signal()
    """Emitted when something was saved or could not be saved, or when another project is open."""

    opened = Signal(object)
    """Emits a `Project` that was opened at the user's request."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.project: Project | None = None
        self.is_scratch = False
        self.error = ""
        self.locked: Path | None = None
        self.notice = ""
        self.conflicts: list[str] = []
        self.saved_at: float | None = None
        self.gui_seconds: list[float] = []  # time that each save blocked the window, for the benchmark
        self._errands = Errands()
        self.lost = LostWork(self, self._errands, self._not_moved)
        self._stems: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()
        self._refused: weakref.WeakSet[Image] = weakref.WeakSet()
        # kept until the project has them, even if their layers leave the window in the meantime
        self._touched: dict[Image, CellsLayer] = {}
        self._is_saving = self._is_showing = self._is_pending = self.is_moving = False
        self._then: list[Callable[[], None]] = []
        self._took = 0.0
        self._timer = single_timer(self.save)
        session.cells_changed.connect(self._cells_changed)

    # --- changes in the window -------------------------------------------------------------------

    @property
    def is_dirty(self) -> bool:
        """Whether there are unsaved changes."""
        return self._is_pending or self._is_saving

    def stem_of(self, image: Image) -> str | None:
        """Return the project's name for an image of the window; None if the project does not contain it."""
        return self._stems.get(image)

    def image_of(self, stem: str) -> Image | None:
        """Return the layer that shows an image of the project; None if no layer does."""
        return next((image for image in self._session.images() if self._stems.get(image) == stem), None)

    def unsaved(self, image: Image) -> CellsLayer | None:
        """Return the unsaved cells of an image, even if their layer is gone."""
        return self._touched.get(image)

    def _cells_changed(self, cells: CellsLayer, change: Any) -> None:
        if self._is_showing:
            return
        self._touched[cells.image] = cells
        was_pending, self._is_pending = self._is_pending, True
        stem = self._stems.get(cells.image)
        self._link(cells, stem)
        if stem is not None and self.project is not None and self.project.note(stem, change):
            if not self._timer.isActive():
                self._timer.start(max(SAVE_MS, int(1000 * self._rest())))
        elif stem is None or not was_pending or self._rest() <= 0:
            self.save()  # a change that is too large for the journal is saved at once
        elif not self._timer.isActive():
            self._timer.start(int(1000 * self._rest()))

    def _link(self, cells: CellsLayer, stem: str | None) -> None:
        """Link new cells of a project's image to its entry."""
        entry = None if stem is None or self.project is None else self.project.image(stem)
        if entry is not None and cells.entry is not entry:
            entry.certainty = cells.entry.certainty
            cells.entry = entry

    def _rest(self) -> float:
        """Return the seconds until the next save may begin."""
        return 0.0 if self.saved_at is None else self.saved_at + REST * self._took - time.monotonic()

    def take_scratch(self, project: Project) -> None:
        """Continue with a new scratch project, which has no place of its own yet."""
        self.project, self.is_scratch = project, True
        self.changed.emit()

    def tell(self, notice: str) -> None:
        """Show a message in the dock until it is dismissed or replaced."""
        self.notice = notice
        self.changed.emit()

    def touch(self) -> None:
        """Save soon, because something other than cells changed in the project."""
        if self.project is not None and not self._timer.isActive():
            self._is_pending = True
            self._timer.start(SAVE_MS)

    def expect(self, cells: CellsLayer) -> None:
        """Add an image to a scratch project before anybody draws; else a crash would lose gestures."""
        is_known = cells.image in self._stems or cells.image in self._refused
        if not is_known and (self.project is None or self.is_scratch):
            self._touched.setdefault(cells.image, cells)
            self._is_pending = True
            self.save()

    # --- saving -----------------------------------------------------------------------------------

    def save(self) -> None:
        """Save all unsaved changes in the background."""
        self._timer.stop()
        if self._is_saving:
            return  # `_saved` sees that a save is pending
        if self.project is not None and self.project.read_only:
            self.error = self.project.read_only
            self.changed.emit()
            self._do_then()
            return
        self._is_saving = True
        new = self._new_images()
        if new or self.project is None:
            work = partial(prepared, self.project, [source_of(cells) for cells in new])
            self._errands.do(work, partial(self._enter, new), self._failed)
        else:
            self._write()

    def _new_images(self) -> list[CellsLayer]:
        is_known = {*self._stems, *self._refused}
        return [cells for image, cells in self._touched.items() if image not in is_known]

    def _enter(
        self, images: list[CellsLayer], found: tuple[Project, list[ProjectImage | CupreError]]
    ) -> None:
        """Add the new images to the project, back in the GUI thread."""
        project, drafts = found
        if self.project is None:
            self.project, self.is_scratch = project, True
        for cells, draft in zip(images, drafts):
            try:
                if isinstance(draft, CupreError):
                    raise draft
                self._take_in(project, cells, draft)
            except CupreError as error:
                self.notice = str(error)
                self._refused.add(cells.image)
        self._write()

    def _take_in(self, project: Project, cells: CellsLayer, draft: ProjectImage) -> None:
        added = project.enter(draft)
        stem, image = added.image.stem, cells.image
        if added.notice and stem in self._stems.values():
            raise InputError(f'"{image.name}" is the same image as "{stem}": its cells are saved only there.')
        if added.notice:
            self._join(project, stem, cells)
        else:
            added.image.certainty = cells.entry.certainty
        added.image.seen = True
        cells.entry = added.image
        project.hold(stem, cells.cells)
        self._stems[image] = stem

    def _join(self, project: Project, stem: str, cells: CellsLayer) -> None:
        """Add the window's cells to those that the project already has for this image."""
        stored = project.cells(stem)
        drawn = cells.cells
        if not len(stored) and not stored.regions:
            return
        for number, row in drawn:
            box, mask = drawn.pixels(number)
            flat = mask.reshape(-1, *mask.shape[-2:])
            if row.state.teaches and len(flat) == 1:
                plane = tuple(start for start, _ in box[:-2])
                corner = (box[-2][0], box[-1][0])
                stored.apply(gestures.place(stored, flat[0], corner, plane, score=row.score, state=row.state))
        self._show(cells, stored, project.image(stem))
        self.notice = f'"{stem}" had cells in this project: they are back, with what you drew.'

    def _show(self, cells: CellsLayer, stored: Cells, entry: ProjectImage) -> None:
        self._is_showing = True
        try:
            cells.show(StoredCells(stored, entry))
        finally:
            self._is_showing = False

    def attach(
        self,
        image: Image,
        stem: str,
        cells: Cells,
        reading: CellImage | None = None,
        colours: StateColormap | None = None,
    ) -> None:
        """Give a layer that shows an image of the project its stored cells.

        `reading` says how its axes are read if the layer showed another image before; `colours` are the
        colours of the cells if they were computed already.

        Raises
        ------
        InputError
            They have another size.
        """
        project = self.project
        if project is None:
            raise InputError("No project is open.")
        entry = project.image(stem)
        entry.seen = True
        self._is_showing = True
        try:
            stored = StoredCells(cells, entry, colours)
            shown = self._session.make_cells(image, stored)
            if shown.cells is not cells:  # the image already has a layer of cells
                shown.show(stored, reading)
        finally:
            self._is_showing = False
        project.hold(stem, cells, is_saved=True)
        self._stems[image] = stem

    def let_go(self, image: Image) -> None:
        """Let go of an image that leaves the window."""
        stem = self._stems.pop(image, None)
        if stem is not None and self.project is not None:
            touched = self._touched.pop(image, None)
            if touched is not None and touched.cells is not self.project.loaded(stem):
                self.project.hold(stem, touched.cells)  # its layer was replaced, and that is not saved yet
            self.project.let_go(stem)
            self._session.queue.look_at(stem)

    def _write(self) -> None:
        project = self.project
        assert project is not None
        began = time.perf_counter()
        for image, cells in self._touched.items():
            stem = self._stems.get(image)
            if stem is not None and cells.cells is not project.loaded(stem):
                project.hold(stem, cells.cells)  # new cells, or cells whose layer was replaced
        self._touched.clear()
        self._is_pending = False
        snapshot = project.snapshot()
        self.gui_seconds.append(time.perf_counter() - began)
        self._errands.do(partial(written, project, snapshot), self._saved, self._failed)

    def _saved(self, outcome: tuple[SaveReport, float]) -> None:
        report, self._took = outcome
        self._is_saving = False
        self.saved_at = time.monotonic()
        self.error = ""
        self.conflicts = list(report.conflicts)
        self.changed.emit()
        if self._is_pending and self._then:
            self.save()
        elif self._is_pending:
            self._timer.start(max(0, int(1000 * self._rest())))
        else:
            self._do_then()

    def _failed(self, error: Exception) -> None:
        """Try again later and say in the dock why saving failed; nothing is lost."""
        self._is_saving, self._is_pending = False, True
        self.error = sentence_of(error)
        self._timer.start(RETRY_MS)
        self.changed.emit()
        self._do_then()

    def _do_then(self) -> None:
        waiting, self._then = self._then, []
        for action in waiting:
            action()

    def when_saved(self, action: Callable[[], None]) -> None:
        """Call a function once everything is saved, or saving has failed."""
        if self.is_dirty:
            self._then.append(action)
            self.save()
        else:
            action()

    # --- projects ---------------------------------------------------------------------------------

    def open(self, folder: Path, *, look_only: bool = False) -> None:
        """Save the present project, then open another in its place; the present one stays if that fails."""
        self.locked = None
        if is_open_here(self.project, folder):
            self.tell("This project is already open here.")
            return

        def start() -> None:
            self._errands.do(
                partial(Project.open, folder, look_only=look_only),
                self._opened,
                partial(self._not_opened, folder),
            )

        self.when_saved(start)

    def _opened(self, project: Project) -> None:
        self._leave()
        self.project = project
        self.is_scratch = project.folder.parent == recovery.scratch_folder().resolve()
        self.error, self.saved_at = project.read_only, None
        self.notice = " ".join(project.notices)
        self._remember(project)
        self.changed.emit()
        self.opened.emit(project)

    def _not_opened(self, folder: Path, error: Exception) -> None:
        if is_open_here(self.project, folder):
            return  # requested twice
        self.locked = folder if isinstance(error, ProjectLocked) else None
        self.error = sentence_of(error)
        self.changed.emit()

    def _leave(self) -> None:
        """Close the present project; delete it if it is a scratch project without cells."""
        project, self.project = self.project, None
        self._stems.clear()
        self._refused.clear()
        self.conflicts = []
        if project is not None:
            leave(project, self.is_scratch)

    def note_shown(self) -> None:
        """Note the image on show, to begin with it the next time."""
        project, image = self.project, self._session.image
        stem = None if image is None else self._stems.get(image)
        if project is not None and stem is not None:
            note = partial(remember_shown, project.document.id, stem)
            self._errands.do(note, lambda _: None, lambda error: None)

    def save_as(self, folder: Path) -> None:
        """Save the project in a place chosen by the user."""

        def start() -> None:
            if self.project is None:
                self._errands.do(partial(Project.create, folder), self._moved, self._failed)
            else:
                self._is_saving = self.is_moving = True
                self._errands.do(
                    partial(recovery.save_as, self.project, folder), self._moved, self._not_moved
                )

        self.when_saved(start)

    def _moved(self, project: Project) -> None:
        self.project, self.is_scratch, self._is_saving, self.is_moving = project, False, False, False
        self.saved_at, self.error, self._is_pending = time.monotonic(), "", True
        self.save()  # changes made in the meantime
        self._remember(project)
        self.changed.emit()

    def _remember(self, project: Project) -> None:
        """Remember the project, so that its models can be found when another project is open."""
        self._errands.do(partial(remember_project, project.folder), lambda _: None, lambda error: None)

    def _not_moved(self, error: Exception) -> None:
        self._is_saving = self.is_moving = False
        self.error = sentence_of(error)
        self.changed.emit()

    def keep_mine(self) -> None:
        """Keep the window's version of cells that somebody else changed; keep theirs beside it."""
        project = self.project
        if project is not None:
            for stem in project.changed_on_disk():
                project.keep_mine(stem)
            self.conflicts, self._is_pending = [], True
            self.save()

    def take_theirs(self) -> None:
        """Show the other version of cells that somebody else changed; keep the window's beside it."""
        project = self.project
        if project is None:
            return
        for stem in project.changed_on_disk():
            image = self.image_of(stem)
            cells = None if image is None else self._session.cells_of(image)
            stored = project.take_theirs(stem)
            if cells is not None:
                self._show(cells, stored, project.image(stem))
                project.hold(stem, stored, is_saved=True)
        self.conflicts = []
        self.changed.emit()

    def close(self) -> None:
        """Save all unsaved changes now, and release the project."""
        with contextlib.suppress(RuntimeError):  # when the application ends, Qt may have deleted its object
            self._timer.stop()
        self._errands.close()
        try:
            new = self._new_images()
            if self._is_pending or self._is_saving:
                if new:
                    self._enter(new, prepared(self.project, [source_of(cells) for cells in new]))
                if self.project is not None and not self.project.read_only:
                    self.project.save()
        except (CupreError, OSError):
            pass  # the disk is full or gone, and nobody is left to ask
        self._leave()
