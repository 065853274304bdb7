"""What a mode wants in a node's kernel: items, each told apart by a key and with a body that may change.

One vocabulary for all modes. `up` makes objects of a State out of them (nslab.compiler.services); the node's kube-proxy
process makes restore files out of the ones that changed.

| item | body |
|---|---|
| chain, TABLE, NAME | the rules, as iptables-save writes them, without `-A NAME` |
| jump, TABLE, BUILT-IN CHAIN, RULE, first or last | () |
| sysctl, PATH (with slashes), DEFAULT | (value,) |
| ipset, NAME | (type, the options that follow it) |
| member, SET, ENTRY | () |
| dummy, NAME | () |
| address, DEVICE, IP/32 | () |
| virtual, PROTOCOL (lower case), IP:PORT | (scheduler, seconds of persistence or "", flags or "") |
| real, PROTOCOL, IP:PORT of the virtual server, IP:PORT | (weight,) |
| nft-table, ip, NAME | (comment,) |
| nft-set, NAME | (what stands in braces when it is declared: type, flags, timeout, comment;) |
| nft-map, NAME | the same |
| nft-chain, NAME | (hook and priority or "", rule, rule, …) |
| nft-element, NAME OF SET OR MAP, KEY | (comment or "", verdict or "") |
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.proxy.model import Proxy, Service

Item: TypeAlias = tuple[str, ...]
Body: TypeAlias = tuple[str, ...]
Items: TypeAlias = dict[Item, Body]


class Part(NamedTuple):
    """What one Service adds. `own`: items that come and go with it. `lines`: rules in chains that all Services share.

    Two Services may own the same item (an external address that both have): it goes with the last of them.
    """

    own: Items
    lines: Mapping[Item, Body] = {}


class Command(NamedTuple):
    """A program to run in the node's network namespace, and what it reads."""

    argv: tuple[str, ...]
    text: str


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
