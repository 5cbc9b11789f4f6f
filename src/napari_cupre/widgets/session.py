"""The state that the widgets of one viewer share: image, annotation, model and running jobs."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels, Layer, Shapes
from napari.viewer import Viewer
from psygnal import Signal
from qtpy.QtCore import QCoreApplication
from qtpy.QtWidgets import QWidget

from napari_cupre.data.axes import parse_axes
from napari_cupre.data.image import CellImage, PlaneIndex
from napari_cupre.errors import CupreError, EnvironmentFault, InputError
from napari_cupre.project.cells import Cells, Change
from napari_cupre.service.client import EngineProcess
from napari_cupre.widgets.annotation_layers import Annotation, adopt, kept_cells
from napari_cupre.widgets.background import Job
from napari_cupre.widgets.canvas_gestures import Gestures
from napari_cupre.widgets.cells_layer import CellsLayer, StoredCells
from napari_cupre.widgets.channels import Channels
from napari_cupre.widgets.comparing import ComparisonJob
from napari_cupre.widgets.frame_width import FrameWidth
from napari_cupre.widgets.idling import IdleLessons
from napari_cupre.widgets.keeping import Keeper
from napari_cupre.widgets.known_models import KnownModels
from napari_cupre.widgets.layers import METADATA_KEY, cell_image, current_plane
from napari_cupre.widgets.looking import is_seen
from napari_cupre.widgets.measuring import MeasuringJob
from napari_cupre.widgets.model_watch import ModelWatch
from napari_cupre.widgets.origin import reading_of
from napari_cupre.widgets.predicting import PredictionJob
from napari_cupre.widgets.queueing import ImageQueue
from napari_cupre.widgets.reading import claim_projects
from napari_cupre.widgets.rereading import carry_over
from napari_cupre.widgets.shortcuts import Shortcuts
from napari_cupre.widgets.sizing import Sizes
from napari_cupre.widgets.start_trials import StartTrials
from napari_cupre.widgets.tab_key import TabKey, window_around
from napari_cupre.widgets.taking_over import fitting_labels
from napari_cupre.widgets.tools import Tools
from napari_cupre.widgets.training import TrainingJob
from napari_cupre.widgets.training_rounds import TrainingRounds
from napari_cupre.widgets.what_next import WhatNext

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["METADATA_KEY", "Session"]

# napari creates each widget separately and passes it only the viewer, so shared state has to be found through
# the viewer. The viewer model accepts no attributes of ours. The entry disappears with the viewer's window.
_sessions: weakref.WeakKeyDictionary[Viewer, Session] = weakref.WeakKeyDictionary()


class Session:
    """State shared by the widgets of one viewer, found by `Session.of`; signals in the GUI thread."""

    image_changed = Signal(object)
    """Emits the chosen image layer (or None) when the choice or the reading of its axes changes."""

    annotations_changed = Signal()
    """Emitted when annotation layers were created, chosen or removed."""

    cells_changed = Signal(object, object)
    """Emits a `CellsLayer` and the `Change` that was made, undone or redone in it."""

    models_changed = Signal()
    """Emitted when a model was trained, added or chosen."""

    def __init__(self, viewer: Viewer, engine: EngineProcess | None = None) -> None:
        self._viewer = weakref.ref(viewer)
        self.engine = engine or EngineProcess()
        self.training = TrainingJob(self.engine)
        self.prediction = PredictionJob(self.engine, self.training)
        self.comparison = ComparisonJob(self.engine, self.training)
        self.measuring = MeasuringJob()
        self.saving = Job("Saving results")
        self.importing = Job("Reading annotations")
        self._image: Image | None = next((x for x in reversed(viewer.layers) if isinstance(x, Image)), None)
        self.known = KnownModels(self)
        self._model = self.known.preferred()
        self._axes: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()
        self._annotations: dict[Image, Annotation] = {}
        self._cells: dict[Image, CellsLayer] = {}
        self._faults: dict[Image, tuple[int, str]] = {}
        self._taking: set[Image] = set()
        self.slides: weakref.WeakKeyDictionary[Image, Labels] = weakref.WeakKeyDictionary()
        """Layers with the cells found in images larger than memory."""
        self.held_slides: weakref.WeakKeyDictionary[Labels, FileLock] = weakref.WeakKeyDictionary()
        """Locks that keep these results on disk as long as a layer shows them."""
        self._owners: weakref.WeakKeyDictionary[Layer, weakref.ref[Image]] = weakref.WeakKeyDictionary()
        self.choices: dict[str, Any] = {}
        """Settings of the docks, by dock and control; see `remembering.remember`."""
        self._is_watching = False
        self.shortcuts = Shortcuts(lambda viewer: getattr(_sessions.get(viewer), "shortcuts", None))
        self.gestures = Gestures(self)
        viewer.layers.events.inserted.connect(self._welcome)
        viewer.layers.events.removed.connect(self._forget)
        claim_projects()
        self.keeper = Keeper(self)
        self.channels, self.sizes = Channels(self), Sizes(self)
        self.queue = ImageQueue(self)
        self.rounds = TrainingRounds(self)
        self.model_watch, self.frames = ModelWatch(self), FrameWidth(self)
        self.what_next = WhatNext(self)
        self.tools = Tools(self, EngineProcess(is_urgent=True))
        self.prediction.free.lender = self.comparison.free.lender = self.tools.prompter
        self.trials = StartTrials(self)
        self.idling = IdleLessons(self)
        # the interpreter may end without closing the window
        self._finalizer = weakref.finalize(self, self.engine.close)

    @classmethod
    def of(cls, viewer: Viewer, engine: EngineProcess | None = None) -> Session:
        """Return the session of a viewer; the first call creates it.

        Parameters
        ----------
        viewer : Viewer
            The viewer, or the proxy that napari passes to plugins.
        engine : EngineProcess or None, optional
            The process that trains and predicts, for the first call; by default a new one.
        """
        # Layers accessed through a proxy are proxies too; they are neither equal to the layers nor usable
        # as the viewer's selection. Only public attributes of the viewer are used anyway.
        viewer = getattr(viewer, "__wrapped__", viewer)
        if viewer not in _sessions:
            _sessions[viewer] = cls(viewer, engine)
        return _sessions[viewer]

    @property
    def viewer(self) -> Viewer:
        """Return the viewer; raise `InputError` if it is closed."""
        viewer = self._viewer()
        if viewer is None:
            raise InputError("The napari window is closed: open a new one.")
        return viewer

    # --- the image ------------------------------------------------------------------------------------

    @property
    def image(self) -> Image | None:
        """The image layer that the user works on."""
        return self._image

    @image.setter
    def image(self, layer: Image | None) -> None:
        if layer is not self._image:
            self._image = layer
            self.image_changed.emit(layer)

    def image_to(self, what: str) -> Image:
        """Return the image layer that the user works on; raise `InputError` saying `what` needs one."""
        if self._image is None:
            raise InputError(f"There is no image to {what}: open one first.")
        return self._image

    @property
    def is_open(self) -> bool:
        """Whether the viewer still exists; a timer may fire after its end."""
        return self._viewer() is not None

    def images(self) -> list[Image]:
        """Return all image layers of the viewer; none once it is closed."""
        return [x for x in getattr(self._viewer(), "layers", ()) if isinstance(x, Image)]

    def cell_image(self, layer: Image) -> CellImage:
        """Return the image of a layer, with the axes set by the user."""
        return self.channels.on(layer, reading_of(layer, self._axes.get(layer)))

    def set_axes(self, layer: Image, axes: str) -> None:
        """Set the axes of a layer to the user's letters.

        Raises
        ------
        InputError
            If the letters do not fit the image; the old reading stays.
        """
        data = layer.data[0] if layer.multiscale else layer.data
        letters = parse_axes(axes, data.ndim)
        try:
            old: CellImage | None = self.cell_image(layer)
        except CupreError:  # the axes are unknown
            old = None
        if old is not None and letters == old.axes:
            return
        new = cell_image(layer, letters)
        annotation, cells = self.annotation(layer), self.cells_of(layer)
        self._axes[layer] = letters
        if old is not None:
            carry_over(self.viewer, annotation, old, new, self.plane_on_show(layer))
            self._own(annotation)
        self._read_again(layer, cells)
        self.annotations_changed.emit()
        self.image_changed.emit(layer)

    def _read_again(self, image: Image, cells: CellsLayer | None) -> None:
        """Bind the cells of an image again with its new axes, keeping their states."""
        layer = self.annotation(image).cells
        self._release(image)
        self._faults.pop(image, None)
        if cells is None or layer is None:
            return
        states = {number: cell.state for number, cell in cells.cells}
        scores = {number: cell.score for number, cell in cells.cells}
        self._taking.add(image)
        try:
            reading = self.cell_image(image)
            labels = fitting_labels(layer, reading)
            kept = Cells.of(labels, states, scores=scores)
            self._bind(CellsLayer(image, reading, layer, StoredCells(kept, cells.entry)))
        except InputError as error:
            self._faults[image] = id(layer.data), str(error)
        finally:
            self._taking.discard(image)

    def plane_on_show(self, layer: Image) -> PlaneIndex:
        """Return the plane of an image that the sliders select."""
        dims = self.viewer.dims
        return current_plane(layer, self.cell_image(layer), dims.point, getattr(dims, "units", None))

    # --- its annotation -------------------------------------------------------------------------------

    def annotation(self, image: Image) -> Annotation:
        """Return the layers that annotate an image; layers with the right names are adopted."""
        if image not in self._annotations:
            self._annotations[image] = Annotation(image)
        annotation = self._annotations[image]
        if not annotation.is_chosen:
            self._adopt(annotation)
        return annotation

    def _adopt(self, annotation: Annotation) -> None:
        """Adopt layers with the right names, unless they belong to another image or a removed one."""
        image = annotation.image
        free = [x for x in self.viewer.layers if (owner := self._owners.get(x)) is None or owner() is image]
        adopt(annotation, free)
        for layer in annotation.layers():
            self._owners[layer] = weakref.ref(image)

    def annotated(self) -> list[Annotation]:
        """Return the annotations of all images that have a layer of cells."""
        return [found for image in self.images() if (found := self.annotation(image)).cells is not None]

    def cells_of(self, image: Image) -> CellsLayer | None:
        """Return the cells of an image, taken over from its layer at the first call; None if there are none.

        Also None for a layer that cannot be used; `fault_of` says why.
        """
        annotation = self.annotation(image)
        layer = annotation.cells
        known = self._cells.get(image)
        if known is not None and known.layer is layer and known.is_bound:
            known.follow_regions(annotation.regions)
            return known
        if layer is None or (known is not None and known.layer is not layer):
            self._release(image)
        if layer is None or image in self._taking or self._faults.get(image, (0, ""))[0] == id(layer.data):
            return None
        self._faults.pop(image, None)
        self._taking.add(image)  # meanwhile the layer reports new data, and listeners ask for the cells
        try:
            if known is not None and known.layer is layer:  # kept in case fitting data come back
                fitting_labels(layer, known.reading)
            return self._bind(CellsLayer(image, self.cell_image(image), layer))
        except InputError as error:
            self._faults[image] = id(layer.data), str(error)
            return None
        finally:
            self._taking.discard(image)

    def fault_of(self, image: Image) -> str:
        """Return why the image's layer of cells cannot be used; "" if it can."""
        return "" if self.cells_of(image) else self._faults.get(image, (0, ""))[1]

    def make_cells(self, image: Image, stored: StoredCells | None = None) -> CellsLayer:
        """Return the cells of an image, in a new layer if there is none.

        Parameters
        ----------
        image : napari.layers.Image
            Of the viewer.
        stored : StoredCells or None, optional
            Cells for a new layer; None takes the cells that the project has for the image.

        Raises
        ------
        InputError
            The axes of the image cannot be read, or the existing layer cannot be used.
        """
        found, annotation = self.cells_of(image), self.annotation(image)
        if found is None and annotation.cells is not None:
            raise InputError(self.fault_of(image))
        if found is None:
            reading = self.cell_image(image)
            stored = stored or kept_cells(self.keeper, image, reading)
            layer = annotation.new_cells(reading, stored.cells.labels)
            found = CellsLayer(image, reading, layer, stored)
            annotation.cells = found.layer
            layer.visible = image is self._image or is_seen(self.viewer, image)
            self.viewer.add_layer(self._bind(found).layer)
            self._own(annotation)
            if stored.cells.regions:
                self.make_regions(image)
            self.annotations_changed.emit()
        return found

    def all_cells(self) -> list[CellsLayer]:
        """Return the cells of all images that have a layer of cells."""
        return [found for image in self.images() if (found := self.cells_of(image)) is not None]

    def _bind(self, cells: CellsLayer) -> CellsLayer:
        self._release(cells.image)
        self._cells[cells.image] = cells
        cells.follow_regions(self.annotation(cells.image).regions)
        cells.history.clear()  # existing cells are not an undo step
        cells.changed.connect(lambda change: self._cells_changed(cells, change))
        cells.selected.connect(lambda: self.gestures.selected(cells))
        return cells

    def _cells_changed(self, cells: CellsLayer, change: Change) -> None:
        """Show regions that came from a project, then notify all listeners of the change."""
        if cells.cells.regions and cells.regions is None and self._cells.get(cells.image) is cells:
            active = self.viewer.layers.selection.active
            self.make_regions(cells.image)
            self.viewer.layers.selection.active = active
        self.cells_changed.emit(cells, change)

    def _release(self, image: Image) -> None:
        known = self._cells.pop(image, None)
        if known is not None:
            known.release()

    def make_regions(self, image: Image) -> Shapes:
        """Return the layer for an image's regions; create it if there is none.

        Raises
        ------
        InputError
            See `make_cells`.
        """
        cells, annotation = self.make_cells(image), self.annotation(image)
        if annotation.regions is None:
            annotation.regions = self.viewer.add_layer(annotation.new_regions(cells.reading))
            self._own(annotation)
            self.annotations_changed.emit()
        cells.follow_regions(annotation.regions)
        return annotation.regions

    def make_background_layer(self, image: Image) -> Labels:
        """Give an image a layer to paint background in, with what its project has of it, if it has none."""
        annotation = self.annotation(image)
        if annotation.background is None:
            annotation.background = self.viewer.add_layer(self.keeper.background.new_layer(image))
            self._own(annotation)
            self.annotations_changed.emit()
        return annotation.background

    def choose_cells(self, image: Image, labels: Labels | None) -> None:
        """Use a Labels layer of any name as the cells of an image."""
        annotation = self.annotation(image)
        if annotation.cells is not labels:
            annotation.cells, annotation.is_chosen = labels, True
            self._own(annotation)
            self.annotations_changed.emit()

    def _own(self, annotation: Annotation) -> None:
        for layer in annotation.layers():
            self._owners[layer] = weakref.ref(annotation.image)

    def _welcome(self, event: Any) -> None:
        """Choose the first image, and later any that the user opens over it."""
        if isinstance(event.value, Image) and (self._image is None or self.queue.is_opened(event.value)):
            self.image = event.value

    def _forget(self, event: Any) -> None:
        layer: Layer = event.value
        if isinstance(layer, Image):
            self.keeper.let_go(layer)
            self.annotation(layer)  # so that layers with its name are known to be its own
            self._annotations.pop(layer, None)
            self._release(layer)
            self._faults.pop(layer, None)
            if layer is self._image:
                self.image = next(reversed(self.images()), None)
        for image in [each.image for each in self._annotations.values() if each.drop(layer)]:
            self.queue.remember(image, self._cells.get(image))
            self.annotations_changed.emit()

    # --- the model ------------------------------------------------------------------------------------

    @property
    def model(self) -> str:
        """Name or path of the model to predict with: the last one chosen or trained."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if name != self._model:
            self.model_added(name)

    def model_added(self, name: str) -> None:
        """Use a model that was just trained for predictions."""
        self._model = name
        self.models_changed.emit()

    # --- the engine ---------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Start the engine's process, so that its libraries are loaded before a button is pressed."""
        with contextlib.suppress(EnvironmentFault):  # the job that needs it will report the error
            self.engine.start()

    # --- closing ---------------------------------------------------------------------------------

    def watch_window(self, widget: QWidget) -> None:
        """End everything when the window that contains `widget` closes."""
        if self._is_watching:
            return
        if (window := window_around(widget)) is None:
            return
        self._is_watching = True  # a reference to the window would keep it alive
        TabKey(window, self.gestures.step)
        window.destroyed.connect(self.close)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    def close(self) -> None:
        """Stop the jobs; a running training saves itself in its own process, which then ends."""
        self.keeper.close()  # save first
        self.engine.close()
        jobs = (self.training, self.prediction, self.comparison, self.measuring, self.saving, self.importing)
        watching = (self.model_watch, self.known, self.what_next, self.frames)
        parts = (self.tools, self.queue, self.idling, self.trials, *watching)
        for end in (*(part.close for part in parts), *(job.abandon for job in jobs)):
            with contextlib.suppress(RuntimeError):  # when napari ends, Qt may have deleted its object
                end()
        self._annotations.clear()
        viewer = self._viewer()
        if viewer is not None:
            self.gestures.close()
            self.shortcuts.close()
            viewer.layers.events.inserted.disconnect(self._welcome)
            viewer.layers.events.removed.disconnect(self._forget)
            _sessions.pop(viewer, None)
