"""The processes that a node's process started or adopted: their numbers, their ends, and who is told of them."""

from __future__ import annotations

import contextlib
import os
import signal

from nslab import rundir
from nslab.components.kubelet.adopt import wait_exit
from nslab.components.kubelet.exit_status import UNKNOWN
from nslab.components.runtime.loop import AT_ONCE
from nslab.runtime.handlers import DEFAULT, handle
from nslab.runtime.trust import Births

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext

PATIENCE = 2.0
"""Seconds to wait for the end of a killed process."""


class Children:
    """Children and adopted processes. `births` forks, and journals, those that outlive the node's process."""

    def __init__(self, loop: Loop, context: NodeContext, ended: Callable[[int, int], None]) -> None:
        """`ended`: told the pid and the status, as subprocess has it, of each process that ends."""
        self._loop, self._ended = loop, ended
        self.births = Births(f"{context.folder}{rundir.PIDS}", lambda call: loop.at(0, call))
        self._held: dict[int, int] = {}  # pidfds of adopted processes: their pids may be reused
        handle(signal.SIGCHLD, lambda *_: None)  # a handler, so that Python writes to the descriptor below
        woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        loop.watch(woken, lambda: self._reap(woken))

    def clean(self) -> None:
        """Restore default signal handling in a new child."""
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            handle(number, DEFAULT)

    def open(self, pid: int) -> int:
        """A new pidfd of a process that this one started or adopted, never of another with the same pid."""
        # The kernel does not reuse a child's pid before its parent has reaped it.
        return os.dup(self._held[pid]) if pid in self._held else os.pidfd_open(pid)

    def end(self, pid: int) -> None:
        """Kill a process and wait for its end; does nothing for pid 0."""
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            descriptor = self.open(pid)
            try:
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                wait_exit(descriptor, PATIENCE)
            finally:
                os.close(descriptor)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def adopt(self, held: dict[int, int]) -> None:
        """Take over processes that are no children: a pidfd of each, by pid."""
        self._held = held
        for pid in held:
            self._watch(pid)

    def _watch(self, pid: int) -> None:
        def gone() -> None:
            descriptor = self._held.pop(pid)
            self._loop.forget(descriptor)
            self._tell(pid, UNKNOWN)
            os.close(descriptor)

        self._loop.watch(self._held[pid], gone)

    def _reap(self, woken: int) -> None:
        """Handle SIGCHLD."""
        with contextlib.suppress(BlockingIOError):
            os.read(woken, 1 << 12)
        self._collect()

    def _collect(self) -> None:
        """Reap a limited number of children, so that a container that forks all the time cannot block the loop."""
        with contextlib.suppress(ChildProcessError):
            for _ in range(AT_ONCE):
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._tell(pid, os.waitstatus_to_exitcode(status))
            self._loop.at(0, self._collect)

    def _tell(self, pid: int, status: int) -> None:
        self.births.ended(pid)
        self._ended(pid, status)
