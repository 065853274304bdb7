"""When a probe of a container is run, and what runs it, from the node's network namespace."""

from __future__ import annotations

import time

from nslab.components.kubelet.dialog import Dialog
from nslab.components.kubelet.health import GRPC_RESULTS, outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.runtime.loop import Loop
    from nslab.runtime.health_check import HealthCheck

    Ran = Callable[[int | None, bytes], None]
    Run = Callable[[HealthCheck, Ran], None]
    News = Callable[[HealthCheck, str, bool], None]


PROCESSES = ("exec", "grpc")
"""The kinds of probes that a process of their own runs."""


class Prober:
    """Runs one probe of one container periodically.

    Calls `news` with the error of each result, or "", and whether that is the container's: the probe may not have run.
    """

    __slots__ = ("_again", "_check", "_dialog", "_loop", "_news", "_number", "_place", "_run", "_stopped")

    def __init__(self, loop: Loop, address: str, check: HealthCheck, news: News, run: Run) -> None:
        """`run`: has a process run the probe, and calls what it is given with the exit status and the output."""
        self._loop, self._place, self._check, self._news, self._run = loop, check.host or address, check, news, run
        self._dialog: Dialog | None = None
        self._number, self._stopped, self._again = 0, False, 0.0

    def begin(self, delay: float) -> None:
        """Run the first probe after its initial delay; without one after `delay` seconds, or at `hasten`."""
        self._loop.at(time.monotonic() + (self._check.initial_delay or delay), self._first)

    def hasten(self) -> None:
        """Run the first probe now: the container answers."""
        if not self._check.initial_delay:
            self._first()

    def stop(self) -> None:
        """Run no more probes."""
        self._stopped = True
        self._close()

    def _first(self) -> None:
        if not self._number:
            self._ask()

    def _ask(self) -> None:
        if self._stopped:
            return
        # One at a time: if an answer takes longer than a period, the next probe starts after this one.
        self._again = time.monotonic() + self._check.period
        self._number += 1
        number = self._number
        if self._check.kind in PROCESSES:
            self._run(self._check, lambda *how: self._ran(number, *how))
        elif not self._check.port:
            self._end("the container has no port of the name that the probe asks for")
        else:
            self._dialog = Dialog(self._loop, self._place, self._check, self._end)
            self._dialog.begin()

    def _ran(self, number: int, status: int | None, output: bytes) -> None:
        if self._stopped or number != self._number:
            return
        known = self._check.kind == "exec" or status in (None, *GRPC_RESULTS)
        self._end(outcome(self._check, status, output), known)

    def _end(self, wrong: str, known: bool = True) -> None:
        self._close()
        self._loop.at(max(self._again, time.monotonic()), self._ask)
        self._news(self._check, wrong, known)

    def _close(self) -> None:
        if self._dialog:
            self._dialog.close()
            self._dialog = None
