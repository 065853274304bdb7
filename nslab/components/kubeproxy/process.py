"""kube-proxy: the process of one node that watches control and writes the node's rules.

proxier.py has the work, so that a process that only starts kube-proxy need not import it.
"""

from __future__ import annotations

import gc

from nslab.components.runtime.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
