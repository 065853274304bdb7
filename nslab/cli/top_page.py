"""The page of `nslab top` in the terminal (textual, which nothing else imports)."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.containers import Horizontal, ScrollableContainer
from textual.message import Message
from textual.widgets import Static

from nslab.views import top as view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult

    from nslab.trace.lab_events.page import TopPage

_KEYS = "q leaves   Tab: next part   arrows, PgUp, PgDn: scroll"


class _Part(ScrollableContainer):
    """A part of the page, which scrolls when it has the focus."""

    def __init__(self, name: str, title: str) -> None:
        super().__init__(id=name)
        self.border_title = title
        # What is shown may be a stranger's text: nothing in it is markup.
        self._text = Static("", markup=False)

    def compose(self) -> ComposeResult:
        """Its text."""
        yield self._text

    def write(self, lines: Iterable[str]) -> None:
        """Show other lines."""
        self._text.update("\n".join(lines))


class PageReady(Message):
    """Another page, or none any more. A thread may post it."""

    def __init__(self, page: TopPage | None) -> None:
        super().__init__()
        self.page = page


class TopApp(App[None]):
    """Shows one page after the other."""

    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar = [("q", "quit", "Leave"), ("ctrl+c", "quit", "Leave")]
    CSS = """
    Screen, Static, _Part { background: ansi_default; color: ansi_default; }
    #head, #keys { height: 1; }
    #head { text-style: bold; }
    _Part { border: solid ansi_default; height: 1fr; width: 1fr; padding: 0 1; }
    _Part { scrollbar-size: 0 0; border-title-color: ansi_default; }
    _Part:focus { border: double ansi_default; background-tint: transparent; }
    _Part > Static { width: auto; height: auto; }
    #middle { height: 3fr; }
    #events { height: 2fr; }
    """

    def __init__(self, lab: str) -> None:
        super().__init__(ansi_color=True)  # the terminal's own colours
        self._head = Static(f"{lab}   a moment …", id="head", markup=False)
        self._links = _Part("links", "Interfaces")
        self._services = _Part("services", "Services: connections")
        self._events = _Part("events", "Events")

    def compose(self) -> ComposeResult:
        """The head, interfaces beside Services, events, and what keys do."""
        yield self._head
        with Horizontal(id="middle"):
            yield self._links
            yield self._services
        yield self._events
        yield Static(_KEYS, id="keys", markup=False)

    def on_mount(self) -> None:
        """The focus is on the interfaces at first."""
        self._links.focus()

    def on_page_ready(self, message: PageReady) -> None:
        """Show a page; leave without one."""
        page = message.page
        if page is None:
            self.exit()
            return
        self._head.update(view.head(page))
        self._links.write(view.links(page))
        self._services.write(view.services(page))
        self._events.write(view.events(page))
