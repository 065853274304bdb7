"""The interface of a proxy mode: items per Service, shared items, and the commands for a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.proxy.model import Proxy, ServiceInfo
    from nslab.ruletext.items import Body, Item, Items, NodeCommand


class Part(NamedTuple):
    """The part of one Service. `own`: items that exist with it. `lines`: its rules in shared chains.

    Two Services may own the same item (an external address of both): it goes with the last of them.
    """

    own: Items
    lines: Mapping[Item, Body] = {}


class Mode(Protocol):
    """One proxy mode: a module of this package (nslab.proxy.iptables, .ipvs, .nftables, .userspace)."""

    def part(self, service: ServiceInfo, proxy: Proxy) -> Part:
        """The items and rules of one Service."""

    def frame(self, parts: Iterable[Part], proxy: Proxy) -> Items:
        """The items that do not belong to one Service: fixed chains, shared chains with all lines, sets, jumps.

        It reads only the parts' lines, and is called again when the lines of a part change.
        """

    def commands(self, old: Items, new: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
        """The commands from `old` to `new`, which contain only the items that differ."""


def whole(mode: Mode, services: Iterable[ServiceInfo], proxy: Proxy) -> Items:
    """All items of the mode for these Services."""
    parts = [mode.part(service, proxy) for service in services]
    items = mode.frame(parts, proxy)
    for part in parts:
        items.update(part.own)
    return items
