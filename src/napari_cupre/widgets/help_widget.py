"""The Help widget: the how-to page of a dock, from the pages that ship with the package."""

from __future__ import annotations

from typing import Any

from napari.viewer import Viewer
from qtpy.QtCore import QUrl
from qtpy.QtGui import QColor, QDesktopServices, QTextCharFormat, QTextCursor
from qtpy.QtWidgets import QComboBox, QTextBrowser

from napari_cupre.widgets.arranging import in_row
from napari_cupre.widgets.controls import SessionWidget, push_button
from napari_cupre.widgets.help_pages import PAGES, START, linked_page, page_text
from napari_cupre.widgets.theme import palette_of

LOWEST = 380
TUTORIAL = "Tutorial"
RIGHT, KEEP = QTextCursor.MoveOperation.Right, QTextCursor.MoveMode.KeepAnchor


class HelpWidget(SessionWidget):
    """The dock that shows one page at a time; links to other pages open here, all others in the browser."""

    title = "Help"

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer)
        self.page = ""
        self._before: list[str] = []
        self.topics = QComboBox()
        self.topics.setAccessibleName("Page")
        self.topics.setToolTip("A page for each dock")
        self.topics.addItem(TUTORIAL, START)
        for title, page in PAGES.items():
            if page != START:
                self.topics.addItem(title, page)
        self.topics.currentIndexChanged.connect(lambda _: self.attempt(self._topic_chosen))
        self.back = push_button("Back", "Back to the previous page", lambda: self.attempt(self._go_back))
        self.text = QTextBrowser()
        self.text.setOpenLinks(False)
        self.text.setAccessibleName("Help page")
        self.text.setToolTip("From the documentation in the package; nothing is downloaded")
        self.text.setMinimumHeight(LOWEST)
        self.text.anchorClicked.connect(lambda url: self.attempt(lambda: self._follow(url)))
        self.column.addLayout(in_row(self.topics, self.back, wide=self.topics))
        self.column.addWidget(self.message)
        self.column.addWidget(self.text, 1)
        self._dress()
        self.attempt(lambda: self.show_page(START))

    def show_dock_page(self, title: str) -> None:
        """Show the page of a dock.

        Parameters
        ----------
        title : str
            Title of the dock.
        """
        self.show_page(PAGES.get(title, START))

    def show_page(self, page: str) -> None:
        """Show a page of the documentation.

        Raises
        ------
        EnvironmentFault
            There is no such page.
        """
        text = page_text(page)
        if self.page and page != self.page:
            self._before.append(self.page)
        self.page = page
        self._write(text)
        self._show_place()

    def wear_theme(self, event: Any = None) -> None:
        """Apply the colours of napari's theme, also to links."""
        super().wear_theme(event)
        if hasattr(self, "text"):  # the base class calls this before the page exists
            self._dress()

    def _dress(self) -> None:
        if self.page:
            self._write(page_text(self.page))

    def _write(self, text: str) -> None:
        """Show Markdown, with links in the theme's colour and commands broken where the dock is narrow.

        Qt offers neither: it takes the colour of links from the application, whatever the theme.
        """
        self.text.setMarkdown(text)
        document = self.text.document()
        if document is None:
            return
        link, cursor = QTextCharFormat(), QTextCursor(document)
        link.setForeground(QColor(palette_of(self.session.viewer.theme).focus))
        block = document.begin()
        while block.isValid():
            for span in [each for each in block.textFormats() if each.format.isAnchor()]:
                cursor.setPosition(block.position() + span.start)
                cursor.movePosition(RIGHT, KEEP, span.length)
                cursor.mergeCharFormat(link)
            if block.blockFormat().nonBreakableLines():
                shape = block.blockFormat()
                shape.setNonBreakableLines(False)
                cursor.setPosition(block.position())
                cursor.setBlockFormat(shape)
            block = block.next()

    def _topic_chosen(self) -> None:
        page = self.topics.currentData()
        if page is not None and page != self.page:  # a page that belongs to no dock has no topic
            self.show_page(page)

    def _go_back(self) -> None:
        page = self._before.pop()
        self.page = ""
        self.show_page(page)

    def _follow(self, url: QUrl) -> None:
        link = url.toString()
        page = linked_page(self.page, link)
        if page is not None:
            self.show_page(page)
        elif "://" in link:
            QDesktopServices.openUrl(url)

    def _show_place(self) -> None:
        self.back.setEnabled(bool(self._before))
        self.topics.setCurrentIndex(self.topics.findData(self.page))
