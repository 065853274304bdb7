"""The processes of a node that are no pod's: tunnels, kube-proxy, BIRD."""

from __future__ import annotations

import contextlib
import os

from nslab.components.bird import process as bird
from nslab.components.ipip import tunnel
from nslab.components.kubeproxy import process as kubeproxy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nslab.components.kubelet.adopt import Found
    from nslab.components.kubelet.children import Children
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.marks import Memory


class Daemons:
    """The pids of a node's own processes; 0 for one that does not run."""

    def __init__(self, context: NodeContext, memory: Memory, children: Children) -> None:
        self._context, self._memory, self._children = context, memory, children
        self._tunnels: dict[str, int] = {}
        self._proxy = self._bird = 0

    def add_tunnel(self, ns: str, dev: str, local: str) -> int:
        """Start the process behind a TUN device."""
        births, clean = self._children.births, self._children.clean
        self._tunnels[ns] = tunnel.start(self._context, self._memory, births, ns, dev, local, clean)
        return self._tunnels[ns]

    def end_tunnel(self, ns: str) -> None:
        """End the process behind a TUN device."""
        self._children.end(self._tunnels.pop(ns, 0))

    def add_proxy(self, settings: dict[str, Any]) -> int:
        """Start the node's kube-proxy, after the end of an earlier one."""
        self.end_proxy()
        births, clean = self._children.births, self._children.clean
        self._proxy = kubeproxy.start(self._context, self._memory, births, settings, clean)
        return self._proxy

    def end_proxy(self) -> None:
        """End the node's kube-proxy, if it runs; it completes its current write."""
        if self._proxy:
            with contextlib.suppress(ProcessLookupError):
                kubeproxy.end(self._proxy, self._children.open(self._proxy))
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._proxy, os.WNOHANG)
        self._proxy = 0

    def add_bird(self, config: str, program: str) -> int:
        """Start the node's BIRD, or have the running one read this configuration."""
        if self._bird:
            bird.write(self._context, config)
            with contextlib.suppress(ProcessLookupError):
                bird.read_again(self._children.open(self._bird))
        else:
            self._bird = bird.start(self._context, self._children.births, program, config, self._children.clean)
        return self._bird

    def end_bird(self) -> None:
        """Kill the node's BIRD, if it runs. On SIGTERM its peers would take the routes to this node away at once."""
        self._children.end(self._bird)
        self._bird = 0

    def adopt(self, found: Found) -> None:
        """Take over those that an earlier process of the node started."""
        self._tunnels |= dict(found.tunnels)
        self._proxy, self._bird = found.proxy, found.bird

    def ended(self, pid: int) -> None:
        """Forget a process that has ended."""
        self._tunnels = {ns: other for ns, other in self._tunnels.items() if other != pid}
        self._proxy = 0 if self._proxy == pid else self._proxy
        self._bird = 0 if self._bird == pid else self._bird

    def end(self) -> None:
        """End all of them."""
        self.end_proxy()
        self.end_bird()
        for ns in list(self._tunnels):
            self.end_tunnel(ns)
