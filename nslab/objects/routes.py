"""Routes of the main table, and its blackholes."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, field
from nslab.objects.base import KernelObject, Remove
from nslab.objects.inet import FLAGS, VERBS, Address
from nslab.objects.keys import Layer, addressed, interface_of
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import DELROUTE, NEWROUTE, RTA_TABLE, attribute, attributes, message, u32

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.objects.base import Step, There
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

PROTOCOLS = {"kernel": 2, "boot": 3, "static": 4, "bird": 12, "bgp": 186}
"""Routing protocols by their ip-route(8) names; Felix's 80 has no name there."""
_PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}

_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_RTN_UNICAST, _RTN_BLACKHOLE = 1, 6
_RTNH_F_ONLINK = 4
_RTM_F_CLONED = 0x200  # not a route, but a cached exception, such as a path MTU
_RTPROT_OF_KERNEL = (1, 2, 9)  # from a redirect, its own, from an IPv6 router's advertisement
_PLAIN = {_RTA_DST, _RTA_OIF, _RTA_GATEWAY, RTA_TABLE}
_ROUTE = struct.Struct("=BBBBBBBBI")
_TABLE_MAIN, _SCOPE_UNIVERSE, _SCOPE_LINK = 254, 0, 253


class Destination(Netlink):
    """An entry of the main routing table. There is one for each destination, and any other can replace it."""

    __slots__ = ()

    to: IPv4Network
    protocol: str
    learned: bool = False
    """A routing daemon has it, too, and may add or remove it at any time."""

    rank: ClassVar[int] = Layer.ROUTE
    by_anybody: ClassVar[bool] = True
    error_if_there: ClassVar[int] = errno.EEXIST
    error_if_absent: ClassVar[int] = errno.ESRCH
    found_whole: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Route", self.ns, str(self.to))

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Destination)

    @property
    def may_be_gone(self) -> bool:
        return self.learned

    @property
    def may_be_there(self) -> bool:
        return self.learned

    def route_message(self, step: Step, scope: int, kind: int, flags: int, rest: bytes) -> Messages:
        """The message for a step; `rest`: the attributes of the next hop."""
        protocol = PROTOCOLS.get(self.protocol) or int(self.protocol)
        length = self.to.prefixlen
        body = struct.pack("=BBBBBBBBI", socket.AF_INET, length, 0, 0, _TABLE_MAIN, protocol, scope, kind, flags)
        body += attribute(_RTA_DST, self.to.network_address.packed) if length else b""
        return [(self.ns, message(DELROUTE if isinstance(step, Remove) else NEWROUTE, FLAGS[type(step)], body + rest))]


@dataclass(frozen=True, slots=True)
class Route(Destination):
    """In `ns`, packets for `to` leave through `dev`, via the gateway `via` if given.

    Without `via`, the destination is on the link (scope link). `onlink`: `via` is on the link even if no address of
    `dev` has it in its network. `protocol` names the author: kernel 2, boot 3, static 4, bird 12, bgp 186, Felix 80.
    """

    to: IPv4Network
    dev: str
    via: IPv4Address | None = None
    protocol: str = "boot"
    onlink: bool = False
    learned: bool = field(default=False, compare=False, kw_only=True)

    @property
    def requires(self) -> tuple[Key, ...]:
        # A route needs no address on its device, but goes when the device goes down or loses its last address.
        return (("LinkUp", self.ns, self.dev), addressed(self.ns, self.dev))

    @property
    def needs(self) -> tuple[Key, ...]:
        return (interface_of(self.ns, self.dev), ("LinkUp", self.ns, self.dev))

    def error_without(self, key: Key) -> int:
        return errno.ENETDOWN if key[0] == "LinkUp" else KernelObject.error_without(self, key)

    def error_adding(self, there: There) -> int:
        return 0 if self._reaches(there) else errno.ENETUNREACH

    def _reaches(self, there: There) -> bool:
        """Whether the gateway is on its interface's link: in an address's network, or behind a link route."""
        if self.via is None:
            return True
        if self.onlink:
            # Before its first address a namespace has no table `local`: Linux treats every gateway as broadcast.
            return there.had_address(self.ns)
        for obj in there.objects():
            match obj:
                case Address(ns=ns, dev=dev, address=own) if (ns, dev) == (self.ns, self.dev):
                    if self.via in own.network and self.via != own.ip:
                        return True
                case Route(ns=ns, dev=dev, to=to, via=None) if (ns, dev) == (self.ns, self.dev) and self.via in to:
                    return True
        return False

    def lines(self, step: Step) -> list[str]:
        via = fill(" via {}", self.via) if self.via else ""
        by = fill(" proto {}", self.protocol) if self.protocol != "boot" else ""
        link = " scope link" if self.via is None else ""
        onlink = " onlink" if self.onlink else ""
        way = fill("ip -n {} route {} {}", self.ns, VERBS[type(step)], self._written_to)
        return [f"{way}{via}{fill(' dev {}', self.dev)}{by}{link}{onlink}"]

    @property
    def _written_to(self) -> str:
        if self.to.prefixlen == 0:
            return "default"
        return str(self.to.network_address) if self.to.prefixlen == 32 else str(self.to)

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        via = attribute(_RTA_GATEWAY, self.via.packed) if self.via else b""
        rest = u32(_RTA_OIF, indexes.index(self.ns, self.dev)) + via
        scope = _SCOPE_LINK if self.via is None else _SCOPE_UNIVERSE
        return self.route_message(step, scope, _RTN_UNICAST, _RTNH_F_ONLINK if self.onlink else 0, rest)

    @property
    def label(self) -> str:
        return f"route to {self.to}" if self.to.prefixlen else "default route"

    @property
    def sentence(self) -> str:
        everything = str(self.to) if self.to.prefixlen else "everywhere else"
        return f"{self.host} sends packets for {everything} {self.way}"

    @property
    def stands_for(self) -> tuple[str, ...]:
        return (str(self.to),)

    def unwanted(self) -> str:
        return f"{self.host} has a {self.label} {self.way} that is not the lab's"

    def differing(self, old: KernelObject) -> str:
        if not isinstance(old, Route):
            return f"{self.host} has the {old.label} in place of one that leads {self.way}{self.whose}"
        if old.way == self.way:
            return f"{self.host}'s {self.label} is {old.author} instead of {self.author}{self.whose}"
        return f"{self.host}'s {self.label} leads {old.way} instead of {self.way}{self.whose}"

    @property
    def way(self) -> str:
        """The gateway and device of a packet, in words."""
        return f"via {self.via} through {self.dev}" if self.via else f"through {self.dev}"

    @property
    def author(self) -> str:
        """Its protocol and flags as ip(8) prints them."""
        return f"proto {self.protocol}{' onlink' if self.onlink else ''}"


@dataclass(frozen=True, slots=True)
class Blackhole(Destination):
    """In `ns`, drops packets for `to` that match no longer prefix, so that they cannot loop."""

    to: IPv4Network
    protocol: str
    learned: bool = field(default=False, compare=False, kw_only=True)

    def lines(self, step: Step) -> list[str]:
        verb = VERBS[type(step)]
        return [fill("ip -n {} route {} blackhole {} proto {}", self.ns, verb, self.to, self.protocol)]

    def messages(self, step: Step, _indexes: Indexes) -> Messages:
        return self.route_message(step, _SCOPE_UNIVERSE, _RTN_BLACKHOLE, 0, b"")

    @property
    def label(self) -> str:
        return f"blackhole for {self.to}"

    @property
    def sentence(self) -> str:
        return f"{self.host} drops packets for addresses of {self.to} that no pod has"


def routes_seen(ns: str, bodies: Iterable[bytes], devices: Mapping[int, str]) -> tuple[list[Destination], list[bytes]]:
    """The main table's routes through these interfaces, and its blackholes, in replies to RTM_GETROUTE.

    Then the bodies of all other routes that are not the kernel's own.
    """
    plain: list[Destination] = []
    others = []
    for body in bodies:
        family, length, _, tos, table, protocol, _, kind, flags = _ROUTE.unpack_from(body)
        if protocol in _RTPROT_OF_KERNEL or flags & _RTM_F_CLONED:
            continue
        attrs = attributes(body, _ROUTE.size)
        device = devices.get(int.from_bytes(attrs.get(_RTA_OIF, b""), "little"))
        if family != socket.AF_INET or table != _TABLE_MAIN or tos or attrs.keys() - _PLAIN:
            others.append(body)
        elif kind == _RTN_BLACKHOLE:
            plain.append(Blackhole(ns, route_destination(attrs, length), route_author(protocol)))
        elif kind == _RTN_UNICAST and device:
            via = IPv4Address(attrs[_RTA_GATEWAY]) if _RTA_GATEWAY in attrs else None
            to, by = route_destination(attrs, length), route_author(protocol)
            plain.append(Route(ns, to, device, via, by, bool(flags & _RTNH_F_ONLINK)))
        else:
            others.append(body)
    return plain, others


def route_destination(attrs: Mapping[int, bytes], length: int) -> IPv4Network:
    """The destination of a route, of its attributes."""
    return IPv4Network((attrs.get(_RTA_DST, bytes(4)), length))


def route_author(protocol: int) -> str:
    """Who wrote a route, as ip-route(8) names it."""
    return _PROTOCOL_NAMES.get(protocol, str(protocol))
