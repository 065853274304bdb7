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

    class Container(Protocol):
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
            """Run a hook, so long at most; then `done`, with what was wrong, or nothing."""

        def send_signal(self, pid: int, number: int) -> None:
            """Send a signal to its process, if that still has this pid."""

        def log(self, text: str) -> None:
            """Write to the node's log."""


LEAST = 2.0
"""Seconds that TERM has at least after a preStop hook, however long that took."""
SOONER = 0.05
"""Seconds by which it must be killed earlier than was said, to be told so."""


class Termination:
    """The end of the present run."""

    __slots__ = ("_kill_at",)

    def __init__(self) -> None:
        self._kill_at = 0.0  # when it is killed, which was told to end; 0: it was not

    def reset(self) -> None:
        """A new run was not told to end."""
        self._kill_at = 0.0

    def is_sooner(self, seconds: float) -> bool:
        """Whether an end within so many seconds comes before the one that it was told of."""
        return not self._kill_at or time.monotonic() + seconds < self._kill_at - SOONER

    def begin(self, container: Container, seconds: float) -> None:
        """Have the run end. It never gets more time than it was first given."""
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


def _kill_later(container: Container, pid: int, moment: float) -> None:
    container.loop.at(moment, lambda: container.send_signal(pid, signal.SIGKILL))
