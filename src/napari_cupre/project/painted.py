"""Background that a person painted in the images of a project: `background/<stem>.tif`."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np

from napari_cupre.errors import InputError
from napari_cupre.project.disk import current
from napari_cupre.project.place import BACKGROUND


def background_file(stem: str) -> str:
    """Return the path of an image's painted background, relative to the project."""
    return f"{BACKGROUND}/{stem}.tif"


def has_background(folder: Path) -> bool:
    """Whether background was painted in an image of a project."""
    return any((folder / BACKGROUND).glob("*.tif"))


class BackgroundMasks:
    """The painted background of a project's images, as a window changes it; thread-safe.

    What was read is kept until `let_go`, so that a thread can read it before a window shows it.

    Parameters
    ----------
    folder : Path
        Folder of the project.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, np.ndarray | None] = {}
        self._unsaved: dict[str, np.ndarray] = {}
        self._lock = threading.Lock()

    def is_known(self, stem: str) -> bool:
        """Whether the background of an image is in memory."""
        return stem in self._known

    def read(self, stem: str, shape: tuple[int, ...]) -> np.ndarray | None:
        """Return where background was painted, saved or not: bool, of the image's shape; None if nowhere.

        Raises
        ------
        InputError
            The file is damaged, or has another size than the image.
        """
        with self._lock:
            if stem not in self._known:
                self._known[stem] = self._on_disk(stem, shape)
            return self._known[stem]

    def _on_disk(self, stem: str, shape: tuple[int, ...]) -> np.ndarray | None:
        file = current(self._folder, background_file(stem))
        if not file.is_file():
            return None
        from napari_cupre.io.images import read_labels

        mask = read_labels(file) > 0
        if mask.shape != shape:
            raise InputError(
                f'The background "{background_file(stem)}" has {mask.shape} px, the image {shape}: '
                f"somebody changed it; put the old file back."
            )
        return mask if mask.any() else None

    def hold(self, stem: str, mask: np.ndarray) -> None:
        """Use a bool mask as the background of an image; the next save writes it."""
        with self._lock:
            self._unsaved[stem] = mask
            self._known[stem] = mask if mask.any() else None

    def let_go(self, stem: str) -> None:
        """Let the background of an image leave memory, unless it is unsaved."""
        with self._lock:
            if stem not in self._unsaved:
                self._known.pop(stem, None)

    def unsaved(self) -> dict[str, np.ndarray]:
        """Return what the next save writes, by stem."""
        with self._lock:
            return dict(self._unsaved)

    def forget(self, saved: dict[str, np.ndarray]) -> None:
        """Forget what was written, unless it was painted over in the meantime."""
        with self._lock:
            for stem, mask in saved.items():
                if self._unsaved.get(stem) is mask:
                    del self._unsaved[stem]
