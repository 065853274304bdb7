"""The page of `top`, as textual draws it at 80x24: by keyboard alone, and without colour."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("textual", reason="textual is not installed (nslab[top])")

from nslab.cli.top_page import PageReady, TopApp
from nslab.trace.lab_events.page import EndpointHits, LinkRate, TopPage
from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from textual.pilot import Pilot

EVENT = LabEvent(0, "node1", EventKind.ROUTE, EventAction.ADDED, "[red]203.0.113.0/24[/] via 10.0.0.1")
PAGE = TopPage(
    "lab", 0, 0, [LinkRate("node1", f"eth{number}", number, 0, 0, 0) for number in range(40)],
    [EndpointHits("default/web", "20.111.156.7:8080", "default/pod-b", 4)], {"node1": 7}, [EVENT],
)  # fmt: skip


def shown(app: TopApp) -> list[str]:
    """The screen's lines."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def on_page(act: Callable[[TopApp, Pilot[Any]], Awaitable[None]]) -> TopApp:
    """Run the page at 80x24, with one picture."""

    async def run() -> TopApp:
        app = TopApp("lab")
        async with app.run_test(size=(80, 24)) as pilot:
            app.post_message(PageReady(PAGE))
            await pilot.pause()
            await act(app, pilot)
        return app

    return asyncio.run(run())


def test_all_parts_are_there() -> None:
    lines: list[str] = []

    async def look(app: TopApp, pilot: Pilot[Any]) -> None:
        lines.extend(shown(app))

    on_page(look)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "conntrack: node1 7" in lines[0]
    assert "   4 100% pod-b 20.111.156.7:8080" in text
    assert "route added: [red]203.0.113.0/24[/] via 10.0.0.1" in text  # not markup
    assert "q leaves" in lines[-1]


def test_keys_move_the_focus_and_scroll() -> None:
    focused: list[str | None] = []

    async def press(app: TopApp, pilot: Pilot[Any]) -> None:
        for key in ("tab", "tab", "tab"):
            focused.append(app.focused.id if app.focused else None)
            await pilot.press(key)
        await pilot.press("pagedown")
        await pilot.wait_for_scheduled_animations()
        focused.append(str(app.query_one("#links").scroll_offset.y > 0))

    on_page(press)
    assert focused == ["links", "services", "events", "True"]


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_a_key_leaves(key: str) -> None:
    async def leave(app: TopApp, pilot: Pilot[Any]) -> None:
        await pilot.press(key)

    assert on_page(leave).return_code == 0


def test_without_a_page_it_leaves() -> None:
    async def over(app: TopApp, pilot: Pilot[Any]) -> None:
        app.post_message(PageReady(None))
        await pilot.pause()
        assert not app.is_running or app._exit

    on_page(over)
