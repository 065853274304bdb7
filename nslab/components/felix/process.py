"""Felix: the process of one node that watches control and writes the rules and sets of the node's policies.

A real Felix (in calico-node) also writes the routes of its pods; here the nodes' processes and `up` do.
"""

from __future__ import annotations

import gc

from nslab.components.felix.agent import FelixAgent
from nslab.components.runtime.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def serve(run: str, settings: dict[str, Any]) -> None:
    """Run Felix. `settings`: its `node`, and the program of `iptables`."""
    # Collect garbage only among new objects: visiting the inherited ones would copy their pages.
    gc.freeze()
    gc.enable()
    loop = Loop()
    with FelixAgent(loop, run, settings["node"], settings["iptables"]):
        while True:
            loop.turn()
