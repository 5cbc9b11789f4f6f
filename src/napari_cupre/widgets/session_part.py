"""The base of objects that belong to one viewer's session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_cupre.widgets.session import Session


class SessionPart:
    """An object that works for one viewer.

    Parameters
    ----------
    session : Session
        Of the viewer.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
