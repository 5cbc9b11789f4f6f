"""The queue of a window's images, with a current one; the next one is read ahead."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Layer
from psygnal import Signal

from napari_cupre.errors import CupreError, InputError
from napari_cupre.project.cells import Cells
from napari_cupre.project.document import ProjectImage
from napari_cupre.project.project import Project
from napari_cupre.project.queue import (
    QueueEntry,
    drafts_of,
    entry_of,
    fields_of,
    in_natural_order,
    last_shown,
    planes_of,
    queue,
    what_was_there,
)
from napari_cupre.project.recovery import new_scratch
from napari_cupre.project.shots import is_annotated
from napari_cupre.widgets.channel_contrast import ChannelContrast
from napari_cupre.widgets.errands import Errands
from napari_cupre.widgets.exchanging import can_take, exchange, may_leave
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.loading import Item, Loaded, drafted, layer_of, load
from napari_cupre.widgets.looking import fit, in_other_units, lie_alike
from napari_cupre.widgets.session_part import SessionPart
from napari_cupre.widgets.sources import sentence_of
from napari_cupre.widgets.timers import single_timer
from napari_cupre.words import counted

if TYPE_CHECKING:
    from napari_cupre.widgets.cells_layer import CellsLayer
    from napari_cupre.widgets.session import Session

MOST_SHOWN = 3
"""Number of project images that keep their layers; those shown longest ago leave the window."""

MOST_READ = 3
"""Number of images kept after reading ahead."""

AHEAD_MS = 200

FIELD_CELLS, FIELD_SIDE = 30, 1024
"""Width of a field of a slide: in cells, or in px if the cell size is unknown."""


class ImageQueue(SessionPart):
    """The images of the project, and images of the window that are not in it yet."""

    changed = Signal()
    """Emitted when the images change, another one is shown, or one is being read."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._keeper = session.keeper
        self._errands = Errands()
        self._read: dict[str, Loaded] = {}
        self._shown: list[Image] = []
        self._made: weakref.WeakSet[Image] = weakref.WeakSet()
        self._contrast = ChannelContrast(session, self._made)
        self._states: dict[str, QueueEntry] = {}
        self._wanted: str | None = None
        self._unread: str | None = None  # the keys step past an image that could not be read
        self._step = 1
        self.order: dict[str, int] | None = None
        """Position of images that come first, by name; None to sort by name."""
        self.status = self.error = ""
        self._ahead = single_timer(self._read_ahead, AHEAD_MS)
        self._keeper.opened.connect(self._opened)
        self._keeper.changed.connect(self.changed.emit)
        session.image_changed.connect(lambda image: self.changed.emit())
        session.shortcuts.offer("previous_image", partial(self.go, -1))
        session.shortcuts.offer("next_image", partial(self.go, 1))

    # --- content ---------------------------------------------------------------------------------

    def items(self) -> list[Item]:
        """Return all images in natural order of their names, the project's first; or in the given `order`."""
        project, keeper = self._keeper.project, self._keeper
        images = [] if project is None else project.images
        known = in_natural_order(tuple(image.stem for image in images))
        layers = {keeper.stem_of(layer): layer for layer in self._session.images()}
        found = [Item(stem, stem, layers.get(stem)) for stem in known]
        found += [Item(x.name, None, x) for x in self._session.images() if keeper.stem_of(x) is None]
        order = self.order
        return found if order is None else sorted(found, key=lambda item: order.get(item.name, len(order)))

    def position(self, items: list[Item] | None = None) -> int:
        """Return the index of the current image; -1 for none."""
        image = self._session.image
        for place, item in enumerate(self.items() if items is None else items):
            if image is not None and item.layer is image:
                return place
        return -1

    @property
    def leaves_a_choice(self) -> bool:
        """Whether several images are visible at once, because some were not opened through the queue."""
        images = self._session.images()
        return len(images) > 1 and any(image not in self._shown for image in images)

    def is_opened(self, layer: Image) -> bool:
        """Whether somebody opened an image over the others, which is neither ours nor a channel of them."""
        return layer not in self._made and layer.blending != "additive"

    def state(self, item: Item) -> str:
        """Describe an image, e.g. "41 cells, 22 checked"."""
        cells = None if item.layer is None else self._session.cells_of(item.layer)
        if cells is not None:
            total, checked = len(cells.cells), sum(row.state.teaches for _, row in cells.cells)
        elif (entry := self._states.get(item.stem or "")) is not None:
            if not (entry.cells or entry.image.seen):
                return "never seen"
            total, checked = entry.cells, entry.checked
        else:
            return "" if item.stem is None else "never seen"
        if not total:
            return "no cells yet"
        return f"{counted(total, 'cell')}, {checked} checked"

    def taught_elsewhere(self) -> list[QueueEntry]:
        """Return the project's images without a layer that have checked or edited cells or a region."""
        shown = {self._keeper.stem_of(cells.image) for cells in self._session.all_cells()}
        return [x for stem, x in self._states.items() if stem not in shown and (x.checked or x.image.regions)]

    def not_annotated(self) -> list[Item]:
        """Return the images without any annotation to learn from."""
        return [item for item in self.items() if not self.teaches(item)]

    def teaches(self, item: Item) -> bool:
        """Whether an image has something to learn from: checked or edited cells, or a region."""
        cells = None if item.layer is None else self._session.cells_of(item.layer)
        if cells is not None:
            return is_annotated(cells.cells)
        entry = self._states.get(item.stem or "")
        return entry is not None and bool(entry.checked or entry.image.regions)

    # --- showing ----------------------------------------------------------------------------------

    def go(self, step: int) -> None:
        """Show the next image, or the previous one with -1; do nothing at the ends."""
        items = self.items()
        unread = [n for n, item in enumerate(items) if item.stem and item.stem == self._unread]
        at = (unread or [self.position(items)])[0] + step
        if 0 <= at < len(items):
            self._step = step
            self.show(items[at])

    def show(self, item: Item) -> None:
        """Show an image and hide the others; read it first if no layer contains it."""
        self.error, self._unread = "", None
        if item.layer is not None:
            self._reveal(item.layer)
            return
        project = self._keeper.project
        if item.stem is None or project is None:
            return
        loaded = self._read.pop(item.stem, None)
        if loaded is not None:
            self._take(loaded)
            return
        self._wanted = item.stem
        self.status = f'Opening "{item.name}" ...'
        self.changed.emit()
        self._load(project, item.stem)

    def _load(self, project: Project, stem: str) -> None:
        entry = project.image(stem)
        has_cells = project.loaded(stem) is not None
        self._errands.do(
            partial(load, project, entry, has_cells), self._loaded, partial(self._not_loaded, stem)
        )

    def _loaded(self, loaded: Loaded) -> None:
        project = self._keeper.project
        if project is None or not any(each is loaded.entry for each in project.images):
            return  # another project was opened in the meantime
        if self._wanted == loaded.entry.stem:
            self._take(loaded)
            return
        self._read[loaded.entry.stem] = loaded
        while len(self._read) > MOST_READ:
            del self._read[next(iter(self._read))]

    def _not_loaded(self, stem: str, error: Exception) -> None:
        if self._wanted == stem:
            self._wanted, self.status, self._unread = None, "", stem
            self.error = sentence_of(error)
            self.changed.emit()

    def _take(self, loaded: Loaded) -> None:
        """Make layers for an image that was read and for its cells, if any."""
        self._wanted, self.status = None, ""
        session, entry, project = self._session, loaded.entry, self._keeper.project
        assert project is not None
        stored = project.loaded(entry.stem)
        if stored is not None:
            loaded = replace(loaded, cells=stored, colours=None)
        tool = session.tools.tool  # napari selects each new layer, which would drop the user's tool
        self._forget([x for x in self._shown if in_other_units(x, loaded.image)])  # napari warns of both
        layer = self._place(loaded)
        if loaded.notices:
            self._keeper.tell(" ".join(loaded.notices))
        self._reveal(layer)
        if loaded.colours is not None:
            loaded.colours.work_anew()
        if tool is not None and not self.error:
            session.tools.take(tool)

    def _place(self, loaded: Loaded) -> Image:
        """Return the layer for an image that was read: one of an image shown long ago, or a new one."""
        session, entry = self._session, loaded.entry
        cells = loaded.cells
        if cells is None:
            cells = Cells(np.zeros(entry.shape, np.int32), {}, entry.regions)
        layer = self._free_layer(loaded)
        try:
            if layer is not None:
                exchange(session, layer, loaded, cells)
                return layer
            layer = layer_of(loaded)
            self._made.add(layer)
            session.viewer.add_layer(layer)
            if layer.ndim > 2:
                session.set_axes(layer, loaded.image.axes)
            self._keeper.attach(layer, entry.stem, cells, None, loaded.colours)
        except CupreError as error:
            self.error = str(error)
        return layer

    def _free_layer(self, loaded: Loaded) -> Image | None:
        """Return the layer of an image shown long ago, if it can show this one."""
        images = self._session.images()
        ours = [x for x in self._shown if x in images and self._keeper.stem_of(x) is not None]
        if len(ours) < MOST_SHOWN or not can_take(self._session, ours[0], loaded):
            return None
        self.remember(ours[0], self._session.cells_of(ours[0]))
        return ours[0]

    def remember(self, image: Image, cells: CellsLayer | None) -> None:
        """Remember the counts of an image whose cells are no longer shown."""
        entry = self._states.get(self._keeper.stem_of(image) or "")
        if cells is None or entry is None:
            return
        rows = cells.cells.rows
        total, checked = len(rows), sum(row.state.teaches for row in rows.values())
        self._states[entry.image.stem] = replace(entry, cells=total, checked=checked, guesses=total - checked)

    @property
    def is_busy(self) -> bool:
        """Whether an image is being loaded."""
        return self._wanted is not None

    def _reveal(self, image: Image) -> None:
        session = self._session
        # napari selects a new layer as soon as it exists
        last = next(reversed(self._shown), None) if session.image is image else session.image
        for other in session.images():
            for layer in self._layers_of(other):
                if other is not image and layer.visible:  # napari would give the brush to whatever comes back
                    layer.mode = "pan_zoom"
                if layer.visible != (other is image):
                    layer.visible = other is image
        session.image = image
        cells = session.cells_of(image)
        if session.tools.tool is None:  # the keys must not act on an invisible image
            session.viewer.layers.selection.active = image if cells is None else cells.layer
        if last is None or last not in session.images() or not lie_alike(last, image):
            fit(session.viewer, image, session.cell_image)
        self._shown = [each for each in self._shown if each is not image] + [image]
        self._ahead.start()
        self.changed.emit()

    def _layers_of(self, image: Image) -> list[Layer]:
        annotation = self._session.annotation(image)
        slide = self._session.slides.get(image)
        layers = [image, *annotation.layers(), *([] if slide is None else [slide])]
        return [layer for layer in layers if layer in self._session.viewer.layers]

    # --- memory -----------------------------------------------------------------------------------

    def _read_ahead(self) -> None:
        """Read the next image while the user looks at the current one, and drop old ones."""
        if not self._session.is_open:
            return
        self._forget_old()
        project = self._keeper.project
        if project is None:
            return
        self._keeper.note_shown()
        items = self.items()
        for at in (self.position(items) + self._step, self.position(items) - self._step):
            if not 0 <= at < len(items):
                continue
            item = items[at]
            if item.stem is not None and item.layer is None and item.stem not in self._read:
                self._load(project, item.stem)

    def _forget_old(self) -> None:
        """Remove project images shown long ago from the window, once they are saved."""
        self._shown = [image for image in self._shown if image in self._session.images()]
        ours = [image for image in self._shown if self._keeper.stem_of(image) is not None]
        self._forget([image for image in ours[:-MOST_SHOWN] if image is not self._session.image])
        if not self._keeper.is_dirty:
            self._refresh_states()

    def _forget(self, images: list[Image]) -> None:
        """Remove project images from the window once they are saved, if nothing of them would be lost."""
        for image in [] if self._keeper.is_dirty else images:
            if image in self._session.images() and may_leave(self._session, image):
                self._states.pop(self._keeper.stem_of(image) or "", None)
                self._remove(image)

    def _refresh_states(self) -> None:
        project = self._keeper.project
        if project is not None and len(self._states) < len(project.images):
            self._errands.do(partial(queue, project), self._know, lambda error: None)

    def look_at(self, stem: str) -> None:
        """Count again the cells of an image without a layer."""
        project = self._keeper.project
        if project is not None:
            work = partial(entry_of, project, project.image(stem))
            self._errands.do(work, self._know_one, lambda error: None)

    def _know_one(self, entry: QueueEntry) -> None:
        self._states[entry.image.stem] = entry
        self.changed.emit()

    def _know(self, entries: list[QueueEntry]) -> None:
        self._states = {entry.image.stem: entry for entry in entries}
        self.changed.emit()

    # --- adding images ---------------------------------------------------------------------------

    def add_files(self, paths: Iterable[str | Path]) -> None:
        """Add image files and folders of them to the project."""
        wanted = [Path(path) for path in paths]
        self._add(lambda project: drafted(*drafts_of(project, wanted)))

    def add_planes(self) -> None:
        """Add each plane of the chosen stack to the queue.

        Raises
        ------
        InputError
            There is no stack, or it has no file.
        """
        path, axes = self.file_with("planes")
        self._add(lambda project: (list(planes_of(project, path, axes)), []))

    def add_fields(self) -> None:
        """Add fields of the chosen slide to the queue.

        Raises
        ------
        InputError
            There is no image, or it has no file.
        """
        path, _ = self.file_with("fields")
        diameter = self._session.sizes.best(self._session.image)
        side = FIELD_SIDE if diameter is None else round(diameter * FIELD_CELLS)
        self._add(lambda project: (list(fields_of(project, path, max(64, side))), []))

    def file_with(self, what: str) -> tuple[Path, str]:
        """Return the file of the chosen image and its axes; raise `InputError` if it has no such parts."""
        image = self._session.image
        path = None if image is None else source_path(image)
        if image is None or path is None:
            raise InputError(f"Only {what} of an image that was opened from a file can be queued: open one.")
        reading = self._session.cell_image(image)
        if what == "planes" and reading.result_axes == "YX":
            raise InputError(f'"{image.name}" has a single plane: choose a stack.')
        return path, reading.axes

    def _add(self, make: Callable[[Project], tuple[list[ProjectImage], list[str]]]) -> None:
        keeper = self._keeper
        self.status, self.error = "Adding images ...", ""
        self.changed.emit()

        def work() -> tuple[Project, list[ProjectImage], list[str]]:
            project = keeper.project or new_scratch()
            return (project, *make(project))

        self._errands.do(work, self._added, self._not_added)

    def _added(self, found: tuple[Project, list[ProjectImage], list[str]]) -> None:
        project, drafts, faults = found
        if self._keeper.project is None:
            self._keeper.take_scratch(project)
        self.status = ""
        added = [project.enter(draft) for draft in drafts]
        self._keeper.tell(" ".join(faults + what_was_there(added)))
        self._keeper.touch()
        self._refresh_states()
        self.changed.emit()
        new = next((each.image.stem for each in added if not each.notice), None)
        if new is not None:
            self.show(next(item for item in self.items() if item.stem == new))

    def _not_added(self, error: Exception) -> None:
        self.status, self.error = "", sentence_of(error)
        self.changed.emit()

    # --- the project ------------------------------------------------------------------------------

    def _opened(self, project: Project) -> None:
        """Show the image that was on show last."""
        self._read.clear()
        self._states.clear()
        self._wanted = None
        self._remove_former()
        self._refresh_states()
        items = [item for item in self.items() if item.stem is not None]
        if not items:
            self.changed.emit()
            return
        latest = last_shown(project, [item.stem or "" for item in items])
        self.show(next(item for item in items if item.stem == latest))

    def _remove_former(self) -> None:
        """Remove the images of the former project, unless their cells could not be saved there."""
        former = [x for x in self._session.images() if x in self._made and self._keeper.stem_of(x) is None]
        for image in () if self._keeper.is_dirty else former:
            self._remove(image)

    def _remove(self, image: Image) -> None:
        for layer in self._layers_of(image):
            self._session.viewer.layers.remove(layer)

    def close(self) -> None:
        """Stop reading."""
        self._ahead.stop()
        self._contrast.close()
        self._errands.close()
        self._read.clear()
