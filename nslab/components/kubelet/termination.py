"""How a run of a container is ended: its preStop hook, TERM, and KILL when its grace period is over."""

from __future__ import annotations

import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from nslab.components.kubelet.container import Spec
    from nslab.components.runtime.loop import Loop

    class EndingContainer(Protocol):
        """What its end needs of a container (nslab.components.kubelet.container_manager)."""

        spec: Spec
        state: str

        @property
        def pid(self) -> int:
            """The pid of its process."""

        @property
        def loop(self) -> Loop:
            """The loop of its node."""

        def hook(self, hook: dict[str, Any], seconds: float, done: Callable[[str], None]) -> None:
            """Run a hook for at most `seconds`; then call `done` with its error, or ""."""

        def send_signal(self, pid: int, number: int) -> None:
            """Send a signal to its process, if that still has this pid."""

        def log(self, text: str) -> None:
            """Write to the node's log."""


LEAST = 2.0
"""The least seconds from TERM to KILL after a preStop hook, however long that took."""
SOONER = 0.05
"""Seconds by which a new end must be earlier than the first one, to count."""


class Termination:
    """The end of the present run."""

    __slots__ = ("_kill_at",)

    def __init__(self) -> None:
        self._kill_at = 0.0  # when its grace period is over; 0: it has not been told to end

    def reset(self) -> None:
        """A new run was not told to end."""
        self._kill_at = 0.0

    def is_sooner(self, seconds: float) -> bool:
        """Whether an end after so many seconds is earlier than the present one."""
        return not self._kill_at or time.monotonic() + seconds < self._kill_at - SOONER

    def begin(self, container: EndingContainer, seconds: float) -> None:
        """End the run within `seconds`. It never gets more time than it was first given."""
        pid, kill_at, first = container.pid, time.monotonic() + seconds, not self._kill_at
        self._kill_at = kill_at = kill_at if first else min(self._kill_at, kill_at)
        hook = container.spec.pre_stop if container.state == "running" else None

        def stop(wrong: str = "") -> None:
            if self._kill_at and container.pid == pid:
                if wrong:
                    container.log(f"PreStopHook of container {container.spec.container} failed: {wrong}")
                container.send_signal(pid, signal.SIGTERM)
                least = time.monotonic() + LEAST
                _kill_later(container, pid, max(self._kill_at, least) if hook else self._kill_at)

        if not first or not seconds:
            _kill_later(container, pid, kill_at)
        elif hook:
            container.hook(hook, seconds, stop)
        else:
            stop()


def _kill_later(container: EndingContainer, pid: int, moment: float) -> None:
    container.loop.at(moment, lambda: container.send_signal(pid, signal.SIGKILL))
