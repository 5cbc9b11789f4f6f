"""What the three widgets of one viewer share: the image, its annotation, the model, the running jobs."""

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
from napari_cupre.widgets.comparing import ComparisonJob
from napari_cupre.widgets.idling import IdleLessons
from napari_cupre.widgets.keeping import Keeper
from napari_cupre.widgets.layers import METADATA_KEY, cell_image, current_plane
from napari_cupre.widgets.measuring import MeasuringJob
from napari_cupre.widgets.model_watch import ModelWatch
from napari_cupre.widgets.origin import origin_of
from napari_cupre.widgets.predicting import PredictionJob
from napari_cupre.widgets.preferences import preferred_model
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

# napari makes each widget by itself and gives it nothing but the viewer, so what they share has to be found
# through the viewer; its model takes no attributes of ours. The entry goes with the viewer's window.
_sessions: weakref.WeakKeyDictionary[Viewer, Session] = weakref.WeakKeyDictionary()


class Session:
    """State shared by the widgets of one viewer, found by `Session.of`; it signals in the GUI thread."""

    image_changed = Signal(object)
    """Another image layer (or None) was chosen, or its axes are read differently."""

    annotations_changed = Signal()
    """Layers were made, chosen or removed that annotate an image."""

    cells_changed = Signal(object, object)
    """In a `CellsLayer` a `Change` was made, taken back or made again, by whomever."""

    models_changed = Signal()
    """A model was trained, added or chosen."""

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
        self._model = preferred_model()
        self._axes: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()
        self._annotations: dict[Image, Annotation] = {}
        self._cells: dict[Image, CellsLayer] = {}
        self._faults: dict[Image, tuple[int, str]] = {}
        self._taking: set[Image] = set()
        self.slides: weakref.WeakKeyDictionary[Image, Labels] = weakref.WeakKeyDictionary()
        """What was found in images that are larger than memory."""
        self.held_slides: weakref.WeakKeyDictionary[Labels, FileLock] = weakref.WeakKeyDictionary()
        """What keeps these results on disk: as long as a layer shows one, nobody deletes it."""
        self._owners: weakref.WeakKeyDictionary[Layer, weakref.ref[Image]] = weakref.WeakKeyDictionary()
        self.choices: dict[str, Any] = {}
        """What was set in the docks, by dock and control: see `remembering.remember`."""
        self._is_watching = False
        self.shortcuts = Shortcuts(lambda viewer: getattr(_sessions.get(viewer), "shortcuts", None))
        self.gestures = Gestures(self)
        viewer.layers.events.inserted.connect(self._welcome)
        viewer.layers.events.removed.connect(self._forget)
        claim_projects()
        self.keeper = Keeper(self)
        self.sizes = Sizes(self)
        self.queue = ImageQueue(self)
        self.rounds = TrainingRounds(self)
        self.model_watch = ModelWatch(self)
        self.what_next = WhatNext(self)
        self.tools = Tools(self, EngineProcess(is_urgent=True))
        self.prediction.free.lender = self.comparison.free.lender = self.tools.prompter
        self.trials = StartTrials(self)
        self.idling = IdleLessons(self)
        # the interpreter may end without the window ever being closed
        self._finalizer = weakref.finalize(self, self.engine.close)

    @classmethod
    def of(cls, viewer: Viewer, engine: EngineProcess | None = None) -> Session:
        """The session of a viewer, made at the first call.

        Parameters
        ----------
        viewer : Viewer
            The viewer, or the proxy of it that napari hands to plugins.
        engine : EngineProcess or None, optional
            What is to train and predict, at the first call; a process of its own by default.
        """
        # Layers that came through a proxy are proxies too, and are neither equal to the layers nor usable
        # as the viewer's selection; all that is used of the viewer is public all the same.
        viewer = getattr(viewer, "__wrapped__", viewer)
        if viewer not in _sessions:
            _sessions[viewer] = cls(viewer, engine)
        return _sessions[viewer]

    @property
    def viewer(self) -> Viewer:
        """The viewer, unless it was closed."""
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
        """The image layer that the user works on; without one, `InputError` says `what` needs it."""
        if self._image is None:
            raise InputError(f"There is no image to {what}: open one first.")
        return self._image

    @property
    def is_open(self) -> bool:
        """Whether the viewer is still there: what a clock calls may come after its end."""
        return self._viewer() is not None

    def images(self) -> list[Image]:
        """All image layers of the viewer; none once it was closed."""
        viewer = self._viewer()
        return [] if viewer is None else [layer for layer in viewer.layers if isinstance(layer, Image)]

    def cell_image(self, layer: Image) -> CellImage:
        """The image of a layer, its axes read as the user said."""
        return cell_image(layer, self._axes.get(layer) or origin_of(layer).axes)

    def set_axes(self, layer: Image, axes: str) -> None:
        """Read the axes of a layer as the user says.

        Raises
        ------
        InputError
            If the letters do not fit the image; the old reading stays.
        """
        data = layer.data[0] if layer.multiscale else layer.data
        letters = parse_axes(axes, data.ndim)
        try:
            old: CellImage | None = self.cell_image(layer)
        except CupreError:  # axes that nobody could guess
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
        """Bind the cells of an image by its new axes, in the states that they had."""
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
        """The plane of an image that the sliders point at."""
        dims = self.viewer.dims
        return current_plane(layer, self.cell_image(layer), dims.point, getattr(dims, "units", None))

    # --- its annotation -------------------------------------------------------------------------------

    def annotation(self, image: Image) -> Annotation:
        """The layers that annotate an image; layers of the right names are taken for them."""
        if image not in self._annotations:
            self._annotations[image] = Annotation(image)
        annotation = self._annotations[image]
        if not annotation.is_chosen:
            self._adopt(annotation)
        return annotation

    def _adopt(self, annotation: Annotation) -> None:
        """Take layers of the right names, unless they are those of another image, or of one that is gone."""
        image = annotation.image
        free = [x for x in self.viewer.layers if (owner := self._owners.get(x)) is None or owner() is image]
        adopt(annotation, free)
        for layer in annotation.layers():
            self._owners[layer] = weakref.ref(image)

    def annotated(self) -> list[Annotation]:
        """The annotations of all images that have any cell layer."""
        found = [self.annotation(image) for image in self.images()]
        return [annotation for annotation in found if annotation.cells is not None]

    def cells_of(self, image: Image) -> CellsLayer | None:
        """The cells of an image: those of its layer, taken over at the first call; None where there are none.

        A layer that cannot be used gives None as well; `fault_of` says why.
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
        self._taking.add(image)  # its layer reports new data meanwhile, and listeners ask for the cells
        try:
            if known is not None and known.layer is layer:  # kept, in case that what fits comes back
                fitting_labels(layer, known.reading)
            return self._bind(CellsLayer(image, self.cell_image(image), layer))
        except InputError as error:
            self._faults[image] = id(layer.data), str(error)
            return None
        finally:
            self._taking.discard(image)

    def fault_of(self, image: Image) -> str:
        """Why the layer that is meant for the cells of an image cannot be used, "" if it can."""
        return "" if self.cells_of(image) else self._faults.get(image, (0, ""))[1]

    def make_cells(self, image: Image, stored: StoredCells | None = None) -> CellsLayer:
        """The cells of an image, in a new layer where there is none.

        Parameters
        ----------
        image : napari.layers.Image
            Of the viewer.
        stored : StoredCells or None, optional
            What a new layer shows; without them, what the project has of the image.

        Raises
        ------
        InputError
            The axes of the image cannot be read, or the layer that is there cannot be used.
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
            self.viewer.add_layer(self._bind(found).layer)
            self._own(annotation)
            if stored.cells.regions:
                self.make_regions(image)
            self.annotations_changed.emit()
        return found

    def all_cells(self) -> list[CellsLayer]:
        """The cells of all images that have any layer of them."""
        return [found for image in self.images() if (found := self.cells_of(image)) is not None]

    def _bind(self, cells: CellsLayer) -> CellsLayer:
        self._release(cells.image)
        self._cells[cells.image] = cells
        cells.follow_regions(self.annotation(cells.image).regions)
        cells.history.clear()  # what was there is no step of undo
        cells.changed.connect(lambda change: self._cells_changed(cells, change))
        cells.selected.connect(lambda: self.gestures.selected(cells))
        return cells

    def _cells_changed(self, cells: CellsLayer, change: Change) -> None:
        """Regions that came from a project are shown; then everybody hears of the change."""
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
        """The layer for the regions of an image, made where there is none yet.

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
        """Give an image the layer in which background is painted, where it has none yet."""
        annotation = self.annotation(image)
        if annotation.background is None:
            annotation.background = self.viewer.add_layer(annotation.new_background(self.cell_image(image)))
            self._own(annotation)
            self.annotations_changed.emit()
        return annotation.background

    def choose_cells(self, image: Image, labels: Labels | None) -> None:
        """Take a Labels layer of any name as the cells of an image."""
        annotation = self.annotation(image)
        if annotation.cells is not labels:
            annotation.cells, annotation.is_chosen = labels, True
            self._own(annotation)
            self.annotations_changed.emit()

    def _own(self, annotation: Annotation) -> None:
        for layer in annotation.layers():
            self._owners[layer] = weakref.ref(annotation.image)

    def _welcome(self, event: Any) -> None:
        """The first image is the chosen one."""
        if self._image is None and isinstance(event.value, Image):
            self.image = event.value

    def _forget(self, event: Any) -> None:
        layer: Layer = event.value
        if isinstance(layer, Image):
            self.keeper.let_go(layer)
            self.annotation(layer)  # so that what has its name is known to be its own
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
        """Name or path of the model to predict with: the last that was chosen or trained."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if name != self._model:
            self.model_added(name)

    def model_added(self, name: str) -> None:
        """Predict with a model that was just trained."""
        self._model = name
        self.models_changed.emit()

    # --- the engine ---------------------------------------------------------------------------------

    def warm_up(self) -> None:
        """Start the engine's process, so that its libraries are loaded by the time a button is pressed."""
        with contextlib.suppress(EnvironmentFault):  # the job that needs it will say so
            self.engine.start()

    # --- the end --------------------------------------------------------------------------------------

    def watch_window(self, widget: QWidget) -> None:
        """End everything when the window goes that `widget` is docked in."""
        if self._is_watching:
            return
        window = window_around(widget)
        if window is None:
            return
        self._is_watching = True  # no reference to the window, which would keep it alive
        TabKey(window, self.gestures.step)
        window.destroyed.connect(self.close)
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    def close(self) -> None:
        """Stop the jobs; a running training saves itself in its own process, which then leaves."""
        self.keeper.close()  # what is not on disk first
        self.engine.close()
        jobs = (self.training, self.prediction, self.comparison, self.measuring, self.saving, self.importing)
        parts = (self.tools, self.queue, self.idling, self.what_next, self.trials, self.model_watch)
        for end in (*(part.close for part in parts), *(job.abandon for job in jobs)):
            with contextlib.suppress(RuntimeError):  # at the end of the application Qt's part may be gone
                end()
        self._annotations.clear()
        viewer = self._viewer()
        if viewer is not None:
            self.gestures.close()
            self.shortcuts.close()
            viewer.layers.events.inserted.disconnect(self._welcome)
            viewer.layers.events.removed.disconnect(self._forget)
            _sessions.pop(viewer, None)
