"""asyncio's loop with the interface of ours: in userspace mode kube-proxy is an asyncio server."""

from __future__ import annotations

import asyncio
import time

from nslab.components.runtime.loop import READ, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any


class AsyncLoop:
    """Callbacks for descriptors and for times, in an asyncio loop."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None

    def _guarded(self, call: Callable[[], None]) -> Callable[[], None]:
        """Wrap `call`: an exception ends the process, as in our own loop; asyncio would log it and continue."""

        def guarded() -> None:
            try:
                call()
            except Exception as error:
                self._error = error
                self.loop.stop()

        return guarded

    def watch(self, fd: int, call: Callable[[], None], events: int = READ) -> None:
        """Call `call` whenever `fd` is readable (or writable, if `events` has WRITE)."""
        self.forget(fd)
        if events & WRITE:
            self.loop.add_writer(fd, self._guarded(call))
        else:
            self.loop.add_reader(fd, self._guarded(call))

    def forget(self, fd: int) -> None:
        """Stop calls for `fd`."""
        self.loop.remove_reader(fd)
        self.loop.remove_writer(fd)

    def at(self, moment: float, call: Callable[[], None]) -> None:
        """Call `call` once, at `moment` of the monotonic clock."""
        self.loop.call_later(max(0.0, moment - time.monotonic()), self._guarded(call))

    def do(self, work: Coroutine[Any, Any, None], then: Callable[[], None]) -> None:
        """Run a coroutine, and call `then` when it is done."""

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)

            def go_on() -> None:
                task.result()
                then()

            self._guarded(go_on)()

        task = self.loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(done)

    def run(self) -> None:
        """Run until an exception; raise it."""
        self.loop.run_forever()
        if self._error:
            raise self._error
