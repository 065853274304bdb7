"""The components of a node beside its kubelet, such as kube-proxy: each is a process that writes rules, or routes.

What they wrote outlives them. A kubelet that takes over has those that run already.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys

from nslab.components.felix import process as felix
from nslab.components.kubelet.adopt import wait_exit
from nslab.components.kubeproxy import process as kubeproxy
from nslab.runtime.handlers import handle
from nslab.runtime.marks import VARIABLE, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.kubelet.children import Children
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.marks import Memory

    Serve = Callable[[str, dict[str, Any]], None]

SERVE: dict[str, Serve] = {"kube-proxy": kubeproxy.serve, "felix": felix.serve}
"""What each runs, by the role in its mark: called with the lab's folder and its settings, it does not return."""
KILLED = ("bird",)
"""Those that are killed: on SIGTERM, BIRD's peers would take the routes to this node away at once."""
GRACE = 5.0
"""Seconds to complete a write after SIGTERM."""


class Daemons:
    """A node's components: a process for each, by its role."""

    def __init__(self, context: NodeContext, memory: Memory, children: Children) -> None:
        self._context, self._memory, self._children = context, memory, children
        self.pids: dict[str, int] = {}

    def start(self, role: str, settings: dict[str, Any]) -> int:
        """Start a component, after the end of an earlier process of it; returns the pid."""
        self.end(role)
        ns, memory = self._context.ns, self._memory

        def child() -> None:
            try:
                memory.show(memory.process_title(role, {VARIABLE: mark(ns, role)}))
                self._children.clean()
                os.setsid()
                # Above all the node's socket: once the node's process is dead, connections to it must be refused.
                os.closerange(3, 1 << 20)
                handle(signal.SIGTERM, lambda *_: sys.exit(0))
                SERVE[role](self._context.run, settings)
            except SystemExit:
                os._exit(0)
            except BaseException:
                import traceback

                traceback.print_exc()
                os._exit(1)

        name = memory.named(role.encode())
        self.pids[role] = self._children.births.fork(ns, role, child, around=name)
        return self.pids[role]

    def start_bird(self, program: str, config: str) -> int:
        """Start BIRD, or have the running one read this configuration; returns the pid."""
        from nslab.components.bird import process as bird  # memory of each node, needed by few

        if pid := self.pids.get("bird", 0):
            bird.configure(self._context, self._children.open(pid), config)
        else:
            births, clean = self._children.births, self._children.clean
            self.pids["bird"] = bird.start(self._context, births, program, config, clean)
        return self.pids["bird"]

    def adopt(self, pids: dict[str, int]) -> None:
        """Take over components that an earlier process of the node started."""
        self.pids |= pids
        if "bird" in pids:
            from nslab.components.bird import process as bird

            bird.show(self._context)  # this process has a /run of its own

    def end(self, role: str) -> None:
        """End a component with its children, if it runs; it completes its write."""
        pid = self.pids.pop(role, 0)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            pidfd = self._children.open(pid)
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL if role in KILLED else signal.SIGTERM)
                if not wait_exit(pidfd, GRACE):
                    os.killpg(pid, signal.SIGKILL)  # it leads its own session, and as it lives, the pid is still its
                    wait_exit(pidfd, GRACE)
            finally:
                os.close(pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)

    def end_all(self) -> None:
        """End every component."""
        for role in list(self.pids):
            self.end(role)

    def ended(self, pid: int) -> None:
        """Handle the end of a process, of a component or of another."""
        self.pids = {role: other for role, other in self.pids.items() if other != pid}
