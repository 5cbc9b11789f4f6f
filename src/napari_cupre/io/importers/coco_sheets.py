"""The images of a COCO JSON, each painted when it is asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from napari_cupre.errors import InputError
from napari_cupre.io.coco_index import CocoIndex, Painted
from napari_cupre.io.file_names import unique_stems
from napari_cupre.io.importers.accounts import BOX, CROWD, HIDDEN, OUTSIDE, SMALL, Account
from napari_cupre.io.importers.frames import Frame
from napari_cupre.io.importers.sheet import Listeners, Result, Sheet
from napari_cupre.io.importers.turning import labels_as_stored, turned_words, unsure_words


def coco_sheets(path: Path, *, keep_empty: bool, listeners: Listeners) -> list[Sheet]:
    """Make one sheet for each annotated image, and report at once what the index left out.

    Raises
    ------
    InputError
        If the file has no usable annotation.
    """
    index = CocoIndex(path, keep_empty=keep_empty)
    for sentence in index.notices:
        say = listeners.partial if sentence in index.lost else listeners.note
        say(f'"{path.name}": {sentence[0].lower()}{sentence[1:]}')
    stems = unique_stems([image.file_name for image in index.images])
    return [
        Sheet((stem,), path, partial(_read, index, number), not image.has_size, says_whose=True)
        for number, (stem, image) in enumerate(zip(stems, index.images))
    ]


def account_of(index: CocoIndex, number: int, painted: Painted, *, with_unknown: bool = True) -> Account:
    """Count what became of the annotations of one image.

    Parameters
    ----------
    index, number : CocoIndex, int
        See `CocoIndex.paint`.
    painted : Painted
        The result of `CocoIndex.paint`.
    with_unknown : bool, optional
        Count boxes without masks and crowds as well.
    """
    lost = {OUTSIDE: painted.outside, HIDDEN: painted.hidden, SMALL: painted.small}
    if with_unknown:
        lost |= {BOX: painted.boxes, CROWD: painted.crowds}
    things = f'annotations of "{index.images[number].file_name}"'
    account = Account(index.path.name, len(painted.classes) + sum(lost.values()), things=things)
    for reason, count in lost.items():
        account.leave_out(reason, count)
    return account


def _read(index: CocoIndex, number: int, frame: Frame | None, listeners: Listeners) -> Result:
    painted = index.paint(number, None if frame is None else frame.plane_shape)
    account = account_of(index, number, painted)
    if account.total and not account.cells:
        raise InputError(account.sentence())
    account.tell(*listeners)
    if frame is None:
        return Result(painted.labels, Frame(painted.labels.shape))
    labels = labels_as_stored(painted.labels, frame.plane_shape, frame.path)
    if labels is not painted.labels:
        listeners.note(turned_words(frame.path, index.path))
    elif unsure := unsure_words(frame.plane_shape, frame.path, index.path):
        listeners.note(unsure)
    return Result(labels, frame)
