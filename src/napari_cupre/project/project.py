"""A project: images, the cells in them, and the folder that stores both."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_cupre.data.image import CellImage
from napari_cupre.errors import EnvironmentFault, InputError
from napari_cupre.project.cells import Cells, Change
from napari_cupre.project.disk import Stamp, current, settle, write_together
from napari_cupre.project.document import DOCUMENT, Document, ProjectImage, read_document
from napari_cupre.project.identity import find_moved, fingerprint, new_stem, relative_to, resolved
from napari_cupre.project.journal import Journal, noted
from napari_cupre.project.lock import Lock
from napari_cupre.project.painted import BackgroundMasks, background_file
from napari_cupre.project.parts import file_name_of, part_of, read_entry
from napari_cupre.project.place import ENDING, project_folder
from napari_cupre.project.tables import files_of, read_cells
from napari_cupre.project.unsaved import CopyRoom, SaveReport, UnsavedWork, planned

MOST_LOADED = 4
"""Number of images whose cells stay in memory; those with unsaved changes always do."""


@dataclass(frozen=True)
class Added:
    """An image that was added or already existed; in the latter case `notice` is a sentence, else "".

    `was_missing` says that its file could not be found before; `is_copy`, that it is known as another file.
    """

    image: ProjectImage
    notice: str = ""
    was_missing: bool = False
    is_copy: bool = False


class Project:
    """A project folder, open.

    Use `create` or `open`, and `close` it at the end (or use a `with` block). A `snapshot` may be written in
    another thread; everything else belongs to one thread.

    Attributes
    ----------
    folder : `NAME.cupre`.
    document : images, rounds and the rest of `project.json`.
    read_only : why nothing can be saved, "" if it can.
    notices : what was odd when files were read, one sentence each.
    """

    def __init__(self, folder: Path, document: Document, lock: Lock | None, read_only: str = "") -> None:
        self.folder = folder
        self.document = document
        self.read_only = read_only
        self.notices: list[str] = []
        self._lock = lock
        self._cells: dict[str, Cells] = {}
        self._saved: dict[str, int] = {}
        self._held: set[str] = set()
        self._stamps: dict[str, Stamp | None] = {}
        self._saved_document = ""
        self.room = CopyRoom()
        self._writing = threading.Lock()
        self._journal = Journal(folder)
        self.painted = BackgroundMasks(folder)

    # --- opening and closing ----------------------------------------------------------------------

    @classmethod
    def create(cls, folder: str | Path) -> Project:
        """Make a project folder and open it.

        Raises
        ------
        InputError : something already exists.
        EnvironmentFault : full or read-only disk.
        """
        folder = Path(folder).expanduser()
        folder = folder if folder.suffix.lower() == ENDING else folder.with_name(folder.name + ENDING)
        if folder.exists() and any(folder.iterdir() if folder.is_dir() else [folder]):
            raise InputError(f'"{folder}" already exists: open it, or choose another name.')
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = Lock(folder)
        except OSError as error:
            raise EnvironmentFault(
                f'"{folder}" could not be created ({error.strerror}): choose another folder.'
            ) from error
        project = cls(folder.resolve(), Document(uuid.uuid4().hex), lock)
        project.save()
        return project

    @classmethod
    def open(cls, folder: str | Path, *, look_only: bool = False) -> Project:
        """Open a project folder; first complete a save that was interrupted by a kill.

        Parameters
        ----------
        folder : `NAME.cupre`, or its `project.json`.
        look_only : take no lock and save nothing, as commands do.

        Raises
        ------
        ProjectLocked : another window has it open.
        InputError : no project, a damaged one, or one of a newer version.
        """
        folder = project_folder(folder)
        lock, reason = None, f'"{folder}" is open read-only: nothing is saved.' if look_only else ""
        if not look_only:
            try:
                lock = Lock(folder)
                settle(folder)
            except (OSError, EnvironmentFault):
                reason = f'"{folder}" is read-only: nothing is saved; save the project elsewhere to go on.'
        try:
            project = cls(folder.resolve(), read_document(current(folder, DOCUMENT)), lock, reason)
        except InputError:
            if lock is not None:
                lock.release()
            raise
        project._stamps[DOCUMENT] = Stamp.of(folder / DOCUMENT)
        project._saved_document = project.document.text()
        project._replay()
        return project

    def _replay(self) -> None:
        """Apply changes that were noted but not saved when the process was killed."""
        count = 0
        for stem, change in noted(self.folder):
            try:  # a change that was saved after all does not fit, nor does one that follows a lost change
                self.cells(stem).apply(change)
                count += 1
            except InputError:
                continue
        if count:
            self.notices.append(f"{count} changes that had not been saved are restored.")

    def close(self) -> None:
        """Release the project; unsaved changes are lost."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> Project:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- images -----------------------------------------------------------------------------------

    @property
    def images(self) -> list[ProjectImage]:
        """All images, in the order of the queue."""
        return self.document.images

    def image(self, stem: str) -> ProjectImage:
        """Return the image of a stem.

        Raises
        ------
        InputError : there is none.
        """
        for image in self.images:
            if image.stem == stem:
                return image
        raise InputError(f'The project has no image "{stem}": choose one of its {len(self.images)}.')

    def add(
        self,
        path: str | Path,
        *,
        axes: str = "",
        series: str | int | None = None,
        channels: tuple[int, ...] | None = None,
        plane: dict[str, int] | None = None,
        field: tuple[int, int, int, int] | None = None,
    ) -> Added:
        """Add an image file, or a plane or a field of one; an image is not added twice.

        Parameters
        ----------
        path, axes, series, channels, plane, field : see `ProjectImage`.

        Raises
        ------
        InputError : the file cannot be read, or has no such plane or field.
        """
        values = {"axes": axes, "series": series, "channels": channels, "plane": dict(plane or {})}
        return self.enter(self.draft(path, field=field, **values))

    def draft(self, path: str | Path, **values: Any) -> ProjectImage:
        """Make an entry for an image file that is not in the project yet; reads the file, in any thread.

        Parameters
        ----------
        path, values : see `add`.

        Raises
        ------
        InputError : as `add`.
        """
        path = Path(path).expanduser()
        draft = ProjectImage(
            stem="", path=relative_to(path, self.folder), content=fingerprint(path), shape=(), **values
        )
        return replace(draft, shape=part_of(read_entry(path, draft), draft).result_shape)

    def enter(self, draft: ProjectImage) -> Added:
        """Put a draft into the project, unless it contains the image; a missing file is found again."""
        path = resolved(draft.path, self.folder)
        for known in self.images:
            if known.place == draft.place:
                home = resolved(known.path, self.folder)
                if not home.exists():
                    known.path = relative_to(path, self.folder)
                    said = f'"{known.stem}" was missing, and is found again in "{path.parent}".'
                    return Added(known, said, was_missing=True)
                what = f'has the pixels of "{known.stem}"' if home != path else "is already in the project"
                return Added(known, f'"{path.name}" {what}: it is not added twice.', is_copy=home != path)
        others = (each.path for each in self.images)
        stem = new_stem(file_name_of(path, draft), self._taken_stems(), draft.path, others)
        image = replace(draft, stem=stem)
        self.images.append(image)
        return Added(image)

    def _taken_stems(self) -> list[str]:
        """Return the stems of images, and of cells whose image was removed, so that nothing reuses these."""
        return [each.stem for each in self.images] + [
            file.stem for file in (self.folder / "cells").glob("*.*") if file.suffix in (".tif", ".csv")
        ]

    def remove(self, stem: str) -> None:
        """Take an image out of the project; its cells stay in `cells/`."""
        image = self.image(stem)
        self.images.remove(image)
        self._cells.pop(stem, None)
        self._held.discard(stem)

    def find(self, image: ProjectImage, folders: tuple[Path, ...] = ()) -> Path:
        """Return the present path of an image's file; a moved file is found by its content.

        Parameters
        ----------
        folders : where to look besides the places of the other images and of the project.

        Raises
        ------
        InputError : it is nowhere there.
        """
        path = resolved(image.path, self.folder)
        if path.exists():
            return path
        homes = dict.fromkeys(resolved(each.path, self.folder).parent for each in self.images)
        found = find_moved(image.path, image.content, [*folders, self.folder.parent, self.folder, *homes])
        if found is None:
            raise InputError(f'The image "{path}" is missing: put it back, or add its folder by + in napari.')
        image.path = relative_to(found, self.folder)
        self.notices.append(f'"{found.name}" was moved, and found in "{found.parent}".')
        return found

    def pixels(self, image: ProjectImage, folders: tuple[Path, ...] = ()) -> CellImage:
        """Return the image itself, or the plane or field that the entry refers to.

        Raises
        ------
        InputError : it is gone, cannot be read, or has another size than when its cells were drawn.
        """
        part = part_of(read_entry(self.find(image, folders), image), image)
        if part.result_shape != image.shape:
            raise InputError(
                f'The image "{image.stem}" has {part.result_shape} px now, its cells were drawn on '
                f"{image.shape}: put the old image back, or add the new one under another name."
            )
        part.channels = image.channels
        return part

    # --- cells ------------------------------------------------------------------------------------

    def cells(self, stem: str) -> Cells:
        """Return the cells of an image, read at the first call; the same object until they are unloaded.

        Raises
        ------
        InputError : the label image is damaged, or has another size than the image.
        """
        if stem not in self._cells:
            image = self.image(stem)
            self._stamps |= {name: Stamp.of(self.folder / name) for name in files_of(stem)}
            cells, notices = read_cells(self.folder, stem, image.regions)
            self.notices += notices
            cells = cells if cells is not None else Cells(np.zeros(image.shape, np.int32), {}, image.regions)
            if cells.shape != image.shape:
                raise InputError(
                    f'The cells "{files_of(stem)[0]}" have {cells.shape} px, the image {image.shape}: '
                    f"somebody changed them; put the old file back."
                )
            self._cells[stem] = cells
            self._saved[stem] = cells.revision
            self.room.reserve(cells.shape)
            self._unload(stem)
        else:
            self._cells[stem] = self._cells.pop(stem)  # the most recently used is last
        return self._cells[stem]

    def background(self, stem: str) -> np.ndarray | None:
        """Return where a person painted background, bool; None if nowhere. As `cells`, but in any thread."""
        if not self.painted.is_known(stem):
            self._stamps[background_file(stem)] = Stamp.of(self.folder / background_file(stem))
        return self.painted.read(stem, self.image(stem).shape)

    def hold(self, stem: str, cells: Cells, *, is_saved: bool = False) -> None:
        """Use a window's cells as those of an image, and keep them in memory until `let_go`.

        Parameters
        ----------
        is_saved : they are what is on disk; else the next save writes them.

        Raises
        ------
        InputError : they have another size than the image.
        """
        image = self.image(stem)
        if cells.shape != image.shape:
            raise InputError(
                f'The cells have {cells.shape} px, the image "{stem}" {image.shape}: open it again.'
            )
        if self._cells.get(stem) is not cells:
            for name in files_of(stem):
                self._stamps.setdefault(name, Stamp.of(self.folder / name))
            self._cells[stem] = cells
            self._saved[stem] = cells.revision if is_saved else -1
        self._held.add(stem)

    def note(self, stem: str, change: Change) -> bool:
        """Note a change, so that it is not lost before the next save; see `Journal.note`."""
        return not self.read_only and self._journal.note(stem, change)

    def let_go(self, stem: str) -> None:
        """Let the cells of an image leave memory once saved, because no window shows them any more."""
        self._held.discard(stem)
        self.painted.let_go(stem)

    @property
    def in_memory(self) -> list[str]:
        """Return the stems of images whose cells are in memory."""
        return list(self._cells)

    def is_held(self, stem: str) -> bool:
        """Whether a window shows the cells of an image."""
        return stem in self._held

    def loaded(self, stem: str) -> Cells | None:
        """Return the cells of an image if they are in memory."""
        return self._cells.get(stem)

    def _unload(self, kept: str) -> None:
        clean = [s for s in self._cells if s != kept and s not in self._held and not self._is_dirty(s)]
        for stem in clean[: max(0, len(self._cells) - MOST_LOADED)]:
            self._sync(stem)
            del self._cells[stem]

    def _is_dirty(self, stem: str) -> bool:
        return self._cells[stem].revision != self._saved.get(stem, 0)

    def _sync(self, stem: str) -> None:
        self.image(stem).regions = self._cells[stem].regions

    @property
    def unsaved(self) -> list[str]:
        """Return the stems of images whose cells have unsaved changes."""
        return [stem for stem in self._cells if self._is_dirty(stem)]

    # --- saving -----------------------------------------------------------------------------------

    def snapshot(self) -> UnsavedWork:
        """Return a copy of all unsaved changes, for `write`."""
        for stem in self._cells:
            self._sync(stem)
        changed = {stem: self._cells[stem] for stem in self.unsaved}
        cells = {stem: each.copy(self.room.take(each.shape)) for stem, each in changed.items()}
        return UnsavedWork(self.document.text(), cells, self._journal.turn(), self.painted.unsaved())

    def write(self, snapshot: UnsavedWork) -> SaveReport:
        """Write a snapshot, in any thread: all of it or nothing.

        A file that somebody else has changed since we read it is never overwritten: our version is written
        beside it, as `<stem>.mine.tif` and so on.

        Raises
        ------
        EnvironmentFault : read-only or full disk, or the folder is gone; the changes count as unsaved.
        """
        if self.read_only:
            raise EnvironmentFault(self.read_only)
        with self._writing:
            files, conflicts = planned(snapshot, self._untouched, self._saved_document)
            if files:
                write_together(self.folder, files)
            for name in files:
                if ".mine." not in name:
                    self._stamps[name] = Stamp.of(self.folder / name)
            self._saved |= {stem: cells.revision for stem, cells in snapshot.cells.items()}
            self._saved_document = snapshot.document
            for cells in snapshot.cells.values():
                self.room.give(cells.labels)
            self._journal.forget(snapshot.notes)
            self.painted.forget(snapshot.painted)
        return SaveReport(tuple(files), tuple(conflicts))

    def _untouched(self, name: str) -> bool:
        """Whether a file is unchanged since we read it; a deleted file may be written again."""
        path, stamp = self.folder / name, self._stamps.get(name)
        return not path.exists() if stamp is None else (not path.exists() or stamp.fits(path))

    def save(self) -> SaveReport:
        """Save all changes now; see `write`."""
        return self.write(self.snapshot())

    def changed_on_disk(self) -> list[str]:
        """Return the stems of loaded images whose cells somebody else has changed on disk."""
        return [s for s in self._cells if not all(self._untouched(name) for name in files_of(s))]

    def take_theirs(self, stem: str) -> Cells:
        """Read somebody else's cells of an image; ours stay beside them if they were saved there."""
        self._cells.pop(stem, None)
        return self.cells(stem)

    def keep_mine(self, stem: str) -> None:
        """Let the next save replace somebody else's cells; theirs are kept beside ours."""
        cells = self.cells(stem)
        for name in files_of(stem):
            path = self.folder / name
            if path.exists() and not self._untouched(name):
                path.replace(path.with_name(f"{stem}.theirs{path.suffix}"))
                self._stamps[name] = None
        cells.revision += 1

    def all_cells(self) -> Iterator[tuple[ProjectImage, Cells]]:
        """Yield each image with its cells, with only one in memory at a time."""
        for image in list(self.images):
            yield image, self.cells(image.stem)
