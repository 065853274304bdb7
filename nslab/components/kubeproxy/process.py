"""kube-proxy: the process of one node that watches control and writes the node's rules. The rules outlive it.

proxier.py has the work, so that a process that only starts kube-proxy need not import it.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

from nslab.components.kubelet.adopt import wait_exit
from nslab.components.runtime.loop import Loop
from nslab.runtime.handlers import handle
from nslab.runtime.marks import VARIABLE, Memory, mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.trust import Births

GRACE = 5.0
"""Seconds to complete its current write after SIGTERM."""


def start(
    context: NodeContext, memory: Memory, births: Births, settings: dict[str, Any], clean: Callable[[], None]
) -> int:
    """Fork a node's kube-proxy and return its pid."""

    def child() -> None:
        try:
            memory.show(memory.process_title("kube-proxy", {VARIABLE: mark(context.ns, "kube-proxy")}))
            clean()
            os.setsid()
            # Above all the node's socket: once the node's process is dead, connections to it must be refused.
            os.closerange(3, 1 << 20)
            handle(signal.SIGTERM, lambda *_: sys.exit(0))
            serve(context.run, settings)
        except SystemExit:
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)

    return births.fork(context.ns, "kube-proxy", child, around=memory.named(b"kube-proxy"))


def end(pid: int, pidfd: int) -> None:
    """End a kube-proxy and its children; it completes its current write."""
    try:
        signal.pidfd_send_signal(pidfd, signal.SIGTERM)
        if not wait_exit(pidfd, GRACE):
            os.killpg(pid, signal.SIGKILL)  # it leads its own session, and as it lives, the pid is still its
            wait_exit(pidfd, GRACE)
    finally:
        os.close(pidfd)


def serve(run: str, settings: dict[str, Any]) -> None:
    """Run kube-proxy with these settings."""
    # Collect garbage only among new objects: visiting the inherited ones would copy their pages.
    gc.freeze()
    gc.enable()
    from nslab.components.kubeproxy.proxier import Proxier
    from nslab.components.kubeproxy.variant import exact, narrows
    from nslab.dataclass import replace
    from nslab.proxy.model import proxy_from_json

    proxy = proxy_from_json(settings)
    proxy = replace(proxy, iptables=exact(proxy.iptables), nft_narrows=proxy.mode == "nftables" and narrows())
    if proxy.mode == "userspace":
        from nslab.components.runtime.asyncloop import AsyncLoop

        asyncio = AsyncLoop()
        with Proxier(asyncio, run, proxy, asyncio):
            asyncio.run()
    else:
        loop = Loop()
        with Proxier(loop, run, proxy):
            while True:
                loop.turn()
