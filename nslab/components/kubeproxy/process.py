"""kube-proxy: the process of one node that watches control and writes the node's rules.

proxier.py has the work. Where `up` has written the rules, kube-proxy imports it at the first change: until then a node
has a small process, and a lab is up sooner.
"""

from __future__ import annotations

import gc

from nslab.components.runtime.control_client import ControlConnection
from nslab.components.runtime.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nslab.components.kubeproxy.proxier import Proxier
    from nslab.components.runtime.asyncloop import AsyncLoop
    from nslab.components.runtime.loop import Watches


def serve(run: str, settings: dict[str, Any]) -> None:
    """Run kube-proxy with these settings."""
    # Collect garbage only among new objects: visiting the inherited ones would copy their pages.
    gc.freeze()
    gc.enable()
    if settings.get("mode") == "userspace":
        from nslab.components.runtime.asyncloop import AsyncLoop

        asyncio = AsyncLoop()
        with KubeProxyAgent(asyncio, run, settings, asyncio):
            asyncio.run()
    else:
        loop = Loop()
        with KubeProxyAgent(loop, run, settings):
            while True:
                loop.turn()


class KubeProxyAgent:
    """A node's kube-proxy: it has rules taken over, and from the first change on a Proxier that writes."""

    def __init__(self, loop: Watches, run: str, settings: dict[str, Any], asyncio: AsyncLoop | None = None) -> None:
        self._loop, self._settings, self._asyncio = loop, settings, asyncio
        self._proxier: Proxier | None = None
        self._taken_over: dict[str, Any] | None = None
        self._line = ControlConnection(loop, run, lambda: {"op": "watch", "node": settings["node"]}, self._hear)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        if self._proxier:
            self._proxier.finish()

    def _hear(self, news: dict[str, Any]) -> None:
        if self._proxier is None and self._taken_over is None and _is_written(news):
            self._taken_over = news
            self._line.send({"op": "synced", "generation": news["generation"], "seconds": 0.0, "error": ""})
            return
        if self._proxier is None:
            self._proxier = self._work()
            if self._taken_over:
                self._proxier.hear(self._taken_over)
                self._taken_over = None
        self._proxier.hear(news)

    def _work(self) -> Proxier:
        from nslab.components.kubeproxy.proxier import Proxier
        from nslab.components.kubeproxy.variant import exact, narrows
        from nslab.dataclass import replace
        from nslab.proxy.model import proxy_from_json

        proxy = proxy_from_json(self._settings)
        proxy = replace(proxy, iptables=exact(proxy.iptables), nft_narrows=proxy.mode == "nftables" and narrows())
        return Proxier(self._loop, self._line, proxy, self._asyncio)


def _is_written(news: dict[str, Any]) -> bool:
    """Whether the rules exist already, and nobody asks kube-proxy itself for a Service's health."""
    return bool(news.get("written")) and not any("health_check_node_port" in one for one in news["services"])
