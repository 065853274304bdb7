"""Static link-layer addresses, which need no ARP and no learning: neighbour entries and forwarding entries."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import KernelObject, OnDevice, Remove
from nslab.objects.inet import FLAGS, VERBS
from nslab.objects.keys import Layer, addressed, interface_of, mac_of
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import CREATE, DELNEIGH, NEWNEIGH, REPLACE, attribute, attributes, mac_bytes, message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.objects.base import Step
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

NDA_DST = 1
NUD_PERMANENT, NUD_NOARP = 0x80, 0x40
NUD_INCOMPLETE, NUD_FAILED = 0x01, 0x20
AF_BRIDGE = 7
NDA_LLADDR = 2
NTF_SELF, NTF_PROXY = 0x02, 0x08


@dataclass(frozen=True, slots=True)
class Neighbour(OnDevice, Netlink):
    """A permanent ARP entry: the kernel sends no request for the link-layer address of `address`."""

    address: IPv4Address
    mac: str

    rank: ClassVar[int] = Layer.NEIGHBOUR
    by_anybody: ClassVar[bool] = True
    error_if_absent: ClassVar[int] = errno.ENOENT

    @property
    def key(self) -> Key:
        return ("Neighbour", self.ns, self.dev, str(self.address))

    @property
    def requires(self) -> tuple[Key, ...]:
        # Even permanent ones are flushed when the device goes down, loses its last address, or changes its own MAC.
        device, up = ("Device", self.ns, self.dev), ("LinkUp", self.ns, self.dev)
        return (device, up, addressed(self.ns, self.dev), mac_of(self.ns, self.dev))

    @property
    def needs(self) -> tuple[Key, ...]:
        return (interface_of(self.ns, self.dev),)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Neighbour)

    def lines(self, step: Step) -> list[str]:
        if isinstance(step, Remove):
            return [fill("ip -n {} neigh del {} dev {}", self.ns, self.address, self.dev)]
        # `replace`, because the kernel may have resolved the address by itself in the meantime.
        entry = fill("{} dev {} lladdr {}", self.address, self.dev, self.mac)
        return [f"{fill('ip -n {}', self.ns)} neigh replace {entry} nud permanent"]

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        body = _entry(socket.AF_INET, indexes.index(self.ns, self.dev), 0, self.address.packed, self.mac)
        gone = isinstance(step, Remove)
        return [(self.ns, message(DELNEIGH if gone else NEWNEIGH, 0 if gone else CREATE | REPLACE, body))]

    @property
    def label(self) -> str:
        return f"permanent ARP entry for {self.address} on {self.dev}"

    @property
    def sentence(self) -> str:
        return f"{self.host} knows that {self.address} is at {self.mac}"

    @property
    def stands_for(self) -> tuple[str, ...]:
        return (f"{self.address}/32",)


@dataclass(frozen=True, slots=True)
class Fdb(OnDevice, Netlink):
    """A permanent forwarding entry of a VXLAN device: frames for `mac` go to the machine `dst`."""

    mac: str
    dst: IPv4Address

    rank: ClassVar[int] = Layer.NEIGHBOUR
    by_anybody: ClassVar[bool] = True
    error_if_there: ClassVar[int] = errno.EEXIST
    error_if_absent: ClassVar[int] = errno.ENOENT
    found_whole: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Fdb", self.ns, self.dev, self.mac)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Fdb)

    def lines(self, step: Step) -> list[str]:
        entry = fill("{} dev {} dst {}", self.mac, self.dev, self.dst)
        return [f"{fill('bridge -n {}', self.ns)} fdb {VERBS[type(step)]} {entry} self permanent"]

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        body = _entry(AF_BRIDGE, indexes.index(self.ns, self.dev), NTF_SELF, self.dst.packed, self.mac)
        return [(self.ns, message(DELNEIGH if isinstance(step, Remove) else NEWNEIGH, FLAGS[type(step)], body))]

    @property
    def label(self) -> str:
        return f"FDB entry of {self.dev} for {self.mac} (behind {self.dst})"

    @property
    def sentence(self) -> str:
        return f"{self.host} sends frames for {self.mac} inside UDP to {self.dst}"

    @property
    def stands_for(self) -> tuple[str, ...]:
        return (f"{self.dst}/32",)


def neighbours_seen(ns: str, bodies: Iterable[bytes], devices: Mapping[int, str]) -> Iterator[Neighbour]:
    """The permanent entries of these interfaces, in replies to RTM_GETNEIGH."""
    for body in bodies:
        family, index, state = struct.unpack_from("=BxxxiH", body)
        attrs = attributes(body, 12)
        if family == socket.AF_INET and index in devices and state == NUD_PERMANENT and NDA_LLADDR in attrs:
            mac = attrs[NDA_LLADDR].hex(":")
            yield Neighbour(ns, devices[index], IPv4Address(attrs[NDA_DST]), mac)


def forwarding_seen(ns: str, bodies: Iterable[bytes], devices: Mapping[int, str]) -> Iterator[Fdb]:
    """The forwarding entries of these interfaces, in replies to RTM_GETNEIGH for bridges."""
    for body in bodies:
        index, _, flags = struct.unpack_from("=xxxxiHB", body)
        attrs = attributes(body, 12)
        if index in devices and flags & NTF_SELF and NDA_DST in attrs:
            yield Fdb(ns, devices[index], attrs[NDA_LLADDR].hex(":"), IPv4Address(attrs[NDA_DST]))


def _entry(family: int, index: int, flags: int, destination: bytes, mac: str) -> bytes:
    state = NUD_PERMANENT | (NUD_NOARP if family == AF_BRIDGE else 0)
    header = struct.pack("=BxxxiHBB", family, index, state, flags, 0)
    return header + attribute(NDA_DST, destination) + attribute(NDA_LLADDR, mac_bytes(mac))
