"""IPVS: real servers that are gone from a Service stay, with weight 0, until the last connection to them has ended."""

from __future__ import annotations

from nslab.ruletext.ipvsadm import expired, retire
from nslab.ruletext.items import Command

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nslab.ruletext.items import Items

AGAIN = 60.0
"""Seconds after which kube-proxy looks whether they may go."""
LIST = Command(("ipvsadm", "-Ln"), "")


class Leaving:
    """The real servers that stay for a while."""

    def __init__(self) -> None:
        self.items: Items = {}

    def amend(self, old: Items, new: Items) -> tuple[Items, Items]:
        """A change as it is to be done: those of TCP do not go yet, and those that stayed may come back."""
        old |= {item: body for item, body in self.items.items() if item in new and item not in old}
        kept = retire(old, new)
        # With a virtual server its real ones go.
        dead = {item[1:] for item in old if item[0] == "virtual" and item not in new}
        left = {item: body for item, body in self.items.items() if item not in new and item[1:3] not in dead}
        self.items = left | kept
        return old, new | kept

    def take(self, listed: str) -> Items:
        """Those that may go now, by the output of LIST."""
        gone = expired(listed, self.items)
        for item in gone:
            del self.items[item]
        return gone
