"""IPv4 addresses of interfaces."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Interface
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import Add, OnDevice, Remove, Replace
from nslab.objects.keys import Layer, addressed
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import CREATE, DELADDR, EXCL, NEWADDR, REPLACE, attribute, attributes, message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.objects.base import Step
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

VERBS: Mapping[type, str] = {Add: "add", Remove: "del", Replace: "replace"}
"""A step's verb for ip(8); FLAGS are those of its netlink message."""
FLAGS: Mapping[type, int] = {Add: CREATE | EXCL, Remove: 0, Replace: CREATE | REPLACE}

_LOOPBACK = IPv4Interface("127.0.0.1/8")
_IFA_ADDRESS, _IFA_LOCAL, _IFA_BROADCAST = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Address(OnDevice, Netlink):
    """An IPv4 address of an interface. With `broadcast`, the last address of its network is the broadcast address."""

    address: IPv4Interface
    broadcast: bool = False

    rank: ClassVar[int] = Layer.ADDRESS
    by_anybody: ClassVar[bool] = True
    error_if_there: ClassVar[int] = errno.EEXIST
    error_if_absent: ClassVar[int] = errno.EADDRNOTAVAIL

    @property
    def key(self) -> Key:
        return ("Address", self.ns, self.dev, str(self.address))

    @property
    def provides(self) -> tuple[Key, ...]:
        return (self.key, addressed(self.ns, self.dev))

    @property
    def provides_address(self) -> bool:
        return True

    def lines(self, step: Step) -> list[str]:
        verb = "del" if isinstance(step, Remove) else "add"
        brd = " brd +" if self.broadcast and verb == "add" else ""
        return [f"{fill('ip -n {} addr {} {}', self.ns, verb, self.address)}{brd} {fill('dev {}', self.dev)}"]

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        network = self.address.network
        index = indexes.index(self.ns, self.dev)
        header = struct.pack("=BBBBI", socket.AF_INET, network.prefixlen, 0, 0, index)
        packed = self.address.ip.packed
        broadcast = attribute(_IFA_BROADCAST, network.broadcast_address.packed) if self.broadcast else b""
        body = header + attribute(_IFA_LOCAL, packed) + attribute(_IFA_ADDRESS, packed) + broadcast
        return [(self.ns, message(DELADDR if isinstance(step, Remove) else NEWADDR, FLAGS[type(step)], body))]

    @property
    def label(self) -> str:
        return f"address {self.address} on {self.dev}"

    @property
    def sentence(self) -> str:
        return f"{self.host} has {self.address.ip} on {self.dev}"


def addresses_seen(ns: str, bodies: Iterable[bytes], devices: Mapping[int, str]) -> Iterator[Address]:
    """The IPv4 addresses of these interfaces (`devices`: names by index), in replies to RTM_GETADDR. Not lo's own."""
    for body in bodies:
        family, length, index = struct.unpack_from("=BBxxI", body)
        if family == socket.AF_INET and index in devices:
            found = attributes(body, 8)
            broadcast = _IFA_BROADCAST in found
            address = Address(ns, devices[index], IPv4Interface((found[_IFA_LOCAL], length)), broadcast)
            if (address.dev, address.address) != ("lo", _LOOPBACK):
                yield address
