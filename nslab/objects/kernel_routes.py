"""The routes that the kernel adds for an address: to the address, to its network, and to its broadcast addresses."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, replace
from nslab.objects.inet import Address
from nslab.objects.interfaces import number
from nslab.objects.keys import Layer
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import APPEND, CREATE, DELROUTE, NEWROUTE, RTA_DST, RTA_OIF, attribute, attributes, message, u32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.objects.base import KernelObject, Step
    from nslab.objects.interfaces import Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

_ADDRESS, _ROUTE = struct.Struct("=BBBBI"), struct.Struct("=BBBBBBBBI")
_IFA_LOCAL, _IFA_BROADCAST, _IFA_FLAGS, _RTA_PREFSRC = 2, 4, 8, 7
_IFA_F_SECONDARY, _IFA_F_NOPREFIXROUTE = 0x01, 0x200
_RTPROT_KERNEL = 2
_UNICAST, _LOCAL, _BROADCAST = 1, 2, 3
_TABLE = {_UNICAST: 254, _LOCAL: 255, _BROADCAST: 255}
_SCOPE = {_UNICAST: 253, _LOCAL: 254, _BROADCAST: 253}
_WORDS = {_UNICAST: "", _LOCAL: "local ", _BROADCAST: "broadcast "}
_REST = {
    _UNICAST: "proto kernel scope link",
    _LOCAL: "table local proto kernel scope host",
    _BROADCAST: "table local proto kernel scope link",
}
_NAMES = {_UNICAST: "connected", _LOCAL: "local", _BROADCAST: "broadcast"}


@dataclass(frozen=True, slots=True)
class KernelRoute(Netlink):
    """In `ns`, the route to `to` that belongs to an address of `dev`. `kind`: its type in a message of rtnetlink."""

    kind: int
    to: IPv4Network
    dev: str
    address: IPv4Interface
    there: bool = True

    rank: ClassVar[int] = Layer.ADDRESS + 1

    @property
    def key(self) -> Key:
        # Plans are sorted by key: first the address itself, without which Linux refuses it as the others' source.
        kind = "" if self.to == IPv4Network(self.address.ip) else _NAMES[self.kind]
        return ("KernelRoute", self.ns, self.dev, kind, str(self.to))

    @property
    def requires(self) -> tuple[Key, ...]:
        return (Address(self.ns, self.dev, self.address).key,)

    @property
    def initial(self) -> KernelObject:
        return replace(self, there=True)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, KernelRoute)

    def lines(self, _step: Step) -> list[str]:
        # `append`, as the kernel does: two interfaces can have addresses of one network.
        verb, to = "append" if self.there else "del", str(self.to).removesuffix("/32")
        way = f"{fill('dev {}', self.dev)} {_REST[self.kind]} {fill('src {}', self.address.ip)}"
        return [f"{fill('ip -n {}', self.ns)} route {verb} {_WORDS[self.kind]}{fill('{}', to)} {way}"]

    def messages(self, _step: Step, indexes: Indexes) -> Messages:
        kind, length = self.kind, self.to.prefixlen
        body = _ROUTE.pack(socket.AF_INET, length, 0, 0, _TABLE[kind], _RTPROT_KERNEL, _SCOPE[kind], kind, 0)
        body += attribute(RTA_DST, self.to.network_address.packed)
        body += u32(RTA_OIF, indexes.index(self.ns, self.dev)) + attribute(_RTA_PREFSRC, self.address.ip.packed)
        verb, flags = (NEWROUTE, CREATE | APPEND) if self.there else (DELROUTE, 0)
        return [(self.ns, message(verb, flags, body))]

    @property
    def label(self) -> str:
        return f"{_NAMES[self.kind]} route to {self.to} through {self.dev}"

    def differing(self, _old: KernelObject) -> str:
        return f"{self.host} has no {self.label}"


def missing_routes(
    ns: str, addresses: Iterable[bytes], routes: Iterable[bytes], interfaces: Interfaces, devices: Mapping[int, str]
) -> Iterator[KernelRoute]:
    """The routes that these addresses came with, and that are gone.

    `addresses`, `routes`: replies to RTM_GETADDR and RTM_GETROUTE; `devices`: the names of the interfaces, by index.
    """
    there = {_identity(body) for body in routes}
    for body in addresses:
        family, length, _, _, index = _ADDRESS.unpack_from(body)
        if family != socket.AF_INET or index not in devices:
            continue
        attrs, dev = attributes(body, _ADDRESS.size), devices[index]
        own = IPv4Interface((attrs[_IFA_LOCAL], length))
        for kind, to in _routes_of(own, attrs, dev == "lo", interfaces[dev].up):
            if (kind, _TABLE[kind], to, index) not in there:
                yield KernelRoute(ns, kind, to, dev, own, there=False)


def _identity(body: bytes) -> tuple[int, int, IPv4Network, int] | None:
    """Type, table, destination and interface of a route of the kernel's own; else None."""
    family, length, _, _, table, protocol, _, kind, _ = _ROUTE.unpack_from(body)
    if family != socket.AF_INET or protocol != _RTPROT_KERNEL:
        return None
    attrs = attributes(body, _ROUTE.size)
    return kind, table, IPv4Network((attrs.get(RTA_DST, bytes(4)), length)), number(attrs.get(RTA_OIF))


def _routes_of(
    own: IPv4Interface, attrs: Mapping[int, bytes], loopback: bool, up: bool
) -> Iterator[tuple[int, IPv4Network]]:
    """Type and destination of the routes that the kernel adds (fib_add_ifaddr); most of them once the link is up."""
    yield _LOCAL, IPv4Network(own.ip)
    if not up:
        return
    broadcast = {IPv4Address(attrs[_IFA_BROADCAST])} if _IFA_BROADCAST in attrs else set()
    flags = number(attrs.get(_IFA_FLAGS))
    if own.network.prefixlen < 32 and not flags & _IFA_F_SECONDARY:
        if not flags & _IFA_F_NOPREFIXROUTE:
            yield _LOCAL if loopback else _UNICAST, own.network
        if own.network.prefixlen < 31:
            broadcast.add(own.network.broadcast_address)
    for address in sorted(broadcast - {IPv4Address("255.255.255.255")}):
        yield _BROADCAST, IPv4Network(address)
