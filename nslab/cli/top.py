"""`nslab top`: a live page in the terminal."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from nslab.cli.arguments import RunningLab
from nslab.cli.output import need_root
from nslab.errors import Missing, UsageError

if TYPE_CHECKING:
    from nslab.cli.top_page import TopApp


def top(name: RunningLab) -> None:
    """Show a live page of a lab: interfaces, Services, connections, events.

    Interfaces with packets and bytes in a second, the busiest first; Services with the connections that each endpoint
    got since the page began, as conntrack makes them; the connections that conntrack has; the last events. Tab goes to
    the next part, arrows scroll it, q leaves. It needs textual (nslab[top]).

    Example: nslab top calico-two-node
    """
    need_root("top")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top draws on a terminal; `nslab events LAB -o json` prints what happens into a pipe")
    try:
        from nslab.cli.top_page import TopApp
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise Missing("top needs textual: pip install 'nslab[top]'; in a clone, scripts/install does it") from None
    from nslab.linux.signals import stop_descriptor
    from nslab.linux.stored_lab import stored_lab

    stored_lab(name)
    with stop_descriptor() as stopped:
        _run(TopApp(name), name, stopped)


def _run(app: TopApp, name: str, stopped: int) -> None:
    """Show the page until somebody leaves it, or the lab is down. A thread reads what it shows."""
    left = threading.Event()
    failed: list[BaseException] = []

    def feed() -> None:
        from nslab.app.top import pages
        from nslab.cli.top_page import PageReady

        try:
            for page in pages(name, stopped):
                if left.is_set():
                    return
                if page:
                    app.post_message(PageReady(page))
        except BaseException as error:  # it is raised in the main thread
            failed.append(error)
        finally:
            app.post_message(PageReady(None))

    thread = threading.Thread(target=feed)
    thread.start()
    try:
        app.run()
    finally:
        left.set()
        thread.join()
    if failed:
        raise failed[0]
