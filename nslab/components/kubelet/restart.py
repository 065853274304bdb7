"""What restarts a dead container: its restart policy decides whether, the kubelet's back-off when."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.runtime.loop import Loop

LONGEST = 300.0
"""The longest back-off of the kubelet, in seconds."""
FORGIVEN = 600.0
"""Seconds of running after which the back-off starts again."""


def again(policy: str, exit_code: int) -> bool:
    """Whether to restart a container that ended."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def longer(delay: float, base: float) -> float:
    """The wait after a wait of `delay`: none, then 10 s, 20 s … 300 s."""
    return min(max(base, 2 * delay), LONGEST)


class Restarts:
    """The restarts of a container: their number `count`, and the `delay` before the next one, in seconds."""

    __slots__ = ("_base", "_due", "count", "delay")

    def __init__(self, base: float, past: dict[str, Any]) -> None:
        """`base`: the first wait; `past`: the status of the container that an earlier nslab-node stored."""
        self._base = base
        self.count: int = past.get("restarts", 0)
        self.delay: float = past.get("delay", 0.0)
        self._due = 0.0  # when it is restarted; 0: it is not

    def ended(self, seconds: float) -> None:
        """Handle the end of a run that lasted so long."""
        if seconds >= FORGIVEN:
            self.delay = 0.0

    def could_not_start(self) -> None:
        """Handle a run that did not even start: the next one is not tried at once."""
        self.delay = self.delay or self._base

    def left(self, finished: float) -> float:
        """The rest of the wait since `finished`, never longer than all of it: that clock may be set."""
        return min(max(0.0, finished + self.delay - time.time()), self.delay)

    def schedule(self, loop: Loop, wait: float, start: Callable[[], None]) -> None:
        """Call `start` for the next run after `wait` seconds; at once without a wait."""
        if not wait:
            self._next(start)
            return
        due = self._due = time.monotonic() + wait
        loop.at(due, lambda: self._next(start) if self._due == due else None)

    def cancel(self) -> None:
        """Start no run."""
        self._due = 0.0

    def _next(self, start: Callable[[], None]) -> None:
        self._due = 0.0
        self.count += 1
        self.delay = longer(self.delay, self._base)
        start()
