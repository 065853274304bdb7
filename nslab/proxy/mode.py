"""What a proxy mode is: what each Service adds, what all of them share, and the commands that make the difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.proxy.model import Proxy, Service
    from nslab.ruletext.items import Body, Command, Item, Items


class Part(NamedTuple):
    """What one Service adds. `own`: items that come and go with it. `lines`: rules in chains that all Services share.

    Two Services may own the same item (an external address that both have): it goes with the last of them.
    """

    own: Items
    lines: Mapping[Item, Body] = {}


class Mode(Protocol):
    """One proxy mode: a module of this package (nslab.proxy.iptables, .ipvs, .nftables, .userspace)."""

    def part(self, service: Service, proxy: Proxy) -> Part:
        """What one Service needs."""

    def frame(self, parts: Iterable[Part], proxy: Proxy) -> Items:
        """What does not belong to one Service: fixed chains, shared chains with everybody's lines, sets, jumps.

        Of the parts it reads the lines only: it is called anew when some part's lines changed.
        """

    def commands(self, old: Items, new: Items, proxy: Proxy) -> tuple[Command, ...]:
        """What turns `old` into `new`, of items that differ: in `old` alone, it goes; in `new` alone, it comes."""


def whole(mode: Mode, services: Iterable[Service], proxy: Proxy) -> Items:
    """Everything that the mode wants."""
    parts = [mode.part(service, proxy) for service in services]
    items = mode.frame(parts, proxy)
    for part in parts:
        items.update(part.own)
    return items
