"""Which channels of an image the network sees: one choice for all images of a project."""

from __future__ import annotations

import contextlib
import weakref
from typing import TYPE_CHECKING

from napari.layers import Image

from napari_cupre.data.image import MOST_CHANNELS, CellImage
from napari_cupre.errors import CupreError, InputError
from napari_cupre.project.project import Project
from napari_cupre.widgets.layers import source_path
from napari_cupre.widgets.origin import channels_on
from napari_cupre.widgets.session_part import SessionPart

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session


class Channels(SessionPart):
    """The choice of channels for training, finding cells and outlining; the project remembers it.

    Attributes
    ----------
    chosen : tuple[int, ...] or None
        Up to three channels, counted from 0 as by the slider; None for the first three.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.chosen: tuple[int, ...] | None = None
        self._project: Project | None = None
        self._seen: weakref.WeakSet[Image] = weakref.WeakSet()
        self._were_open = weakref.WeakSet(session.images())
        session.keeper.changed.connect(self._follow)
        session.image_changed.connect(self._look)
        session.models_changed.connect(self._show_one_in_use)

    def choose(self, channels: tuple[int, ...] | None) -> None:
        """Use other channels from now on.

        Raises
        ------
        InputError
            There are more than three.
        """
        if channels is not None and not 1 <= len(channels) <= MOST_CHANNELS:
            raise InputError(f"{len(channels)} channels were chosen, but one to three can be used.")
        if channels == self.chosen:
            return
        self.chosen = channels
        self._spread()
        session = self._session
        session.image_changed.emit(session.image)  # whatever was prepared for the image is out of date
        self._show_one_in_use()

    def show(self, channel: int) -> None:
        """Move the slider to a channel of the current image, so that a person sees what the network sees."""
        image, dims = self._session.image, self._session.viewer.dims
        axes = "" if image is None else self._session.cell_image(image).axes.replace("S", "")
        if image is None or "C" not in axes:
            return
        at = [0.0] * image.ndim
        at[axes.index("C")] = channel
        axis = dims.ndim - image.ndim + axes.index("C")
        dims.set_point(axis, image.data_to_world(at)[axes.index("C")])

    def _look(self, layer: Image | None) -> None:
        """Show a channel in use, unless it is the first three, when an image comes up for the first time."""
        if layer is None or layer in self._seen:
            return
        self._seen.add(layer)
        if self._is_where_napari_began(layer):
            with contextlib.suppress(CupreError):  # the axes are unknown
                self.show((self.used_of(self._session.cell_image(layer)) or (0,))[0])
        self._show_one_in_use()

    def _is_where_napari_began(self, layer: Image) -> bool:
        """Whether an image from a file is the only one, and no person has chosen what is on show.

        napari begins in the middle of each slider. In the middle of two stains may be one without cells.
        """
        is_first = layer not in self._were_open and self._session.images() == [layer]
        return is_first and (source_path(layer) is not None or not self._session.queue.is_opened(layer))

    def _show_one_in_use(self) -> None:
        layer = self._session.image
        with contextlib.suppress(CupreError):  # the axes are unknown
            used = None if layer is None else self.used_of(self._session.cell_image(layer))
            if layer is not None and used and self._channel_on_show(layer) not in used:
                self.show(used[0])

    def used_of(self, image: CellImage) -> tuple[int, ...] | None:
        """Return the channels that the model is given of an image; None for the first three."""
        if image.channel_count == 1:
            return None
        return self._session.known.seen_by(self._session.model).on(image).chosen_channels

    def _channel_on_show(self, layer: Image) -> int:
        """Return the channel where the slider stands."""
        place = self._session.cell_image(layer).axes.index("C")
        return round(layer.world_to_data(self._session.viewer.dims.point[-layer.ndim :])[place])

    def on(self, layer: Image, image: CellImage) -> CellImage:
        """Return the image of a layer with the choice, and with the names of its channels."""
        image.channels = self.chosen
        image.channel_names = channels_on(layer, image.channel_count)
        return image

    def _follow(self) -> None:
        """Take the choice of a project that was opened; a new one takes that of the window."""
        keeper = self._session.keeper
        project = keeper.project
        if project is not self._project:
            self._project = project
            of_project = [entry.channels for entry in ([] if project is None else project.images)]
            known = next((channels for channels in of_project if channels is not None), None)
            if known is not None or (of_project and not keeper.is_scratch):
                self.chosen = known
            if known is not None and len({*of_project} - {None}) > 1:  # a program gave each its own
                now = f"from now on all use {', '.join(map(str, known))}."
                said = f"The images of this project used different channels: {now}"
                keeper.tell(" ".join(filter(None, [keeper.notice, said])))
        self._spread()

    def _spread(self) -> None:
        """Give the choice to all images of the window and of the project, also to those added since."""
        for cells in self._session.all_cells():
            cells.reading.channels = self.chosen
        project = self._session.keeper.project
        others = [] if project is None else [x for x in project.images if x.channels != self.chosen]
        for entry in others:
            entry.channels = self.chosen
        if others and project is not None and not project.read_only:
            self._session.keeper.touch()
