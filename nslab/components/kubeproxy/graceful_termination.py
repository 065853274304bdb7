"""IPVS: real servers removed from a Service stay, with weight 0, until their last connection has ended."""

from __future__ import annotations

from nslab.ruletext.ipvsadm import expired, retire
from nslab.ruletext.items import NodeCommand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nslab.ruletext.items import Items

AGAIN = 60.0
"""Seconds between kube-proxy's checks whether they can be removed."""
LIST = NodeCommand(("ipvsadm", "-Ln"), "")


class GracefulTermination:
    """The real servers in graceful termination."""

    def __init__(self) -> None:
        self.items: Items = {}

    def amend(self, old: Items, new: Items) -> tuple[Items, Items]:
        """Amend a change: TCP real servers are not removed yet, and terminating ones may return."""
        old |= {item: body for item, body in self.items.items() if item in new and item not in old}
        kept = retire(old, new)
        # The kernel removes a virtual server's real servers with it.
        dead = {item[1:] for item in old if item[0] == "virtual" and item not in new}
        left = {item: body for item, body in self.items.items() if item not in new and item[1:3] not in dead}
        self.items = left | kept
        return old, new | kept

    def take(self, listed: str) -> Items:
        """Remove and return those without connections, by the output of LIST."""
        gone = expired(listed, self.items)
        for item in gone:
            del self.items[item]
        return gone
