"""Tunnel interfaces: VXLAN, IP-in-IP, and the TUN stand-in for a missing ipip driver."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, field, replace
from nslab.objects.base import KernelObject, Remove, Replace
from nslab.objects.devices import Device, Link, driver_attribute, mac_attribute
from nslab.objects.interfaces import number
from nslab.objects.keys import Layer, mac_of
from nslab.quote import fill
from nslab.wire.netlink import attribute, u32

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.objects.base import Step, There, Unit
    from nslab.objects.interfaces import Interface, Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes

_VXLAN_ID, _VXLAN_LINK, _VXLAN_LOCAL, _VXLAN_LEARNING, _VXLAN_PORT = 1, 3, 4, 7, 15


@dataclass(frozen=True, slots=True)
class Vxlan(Link):
    """A VXLAN tunnel end point without learning: every neighbour and every forwarding entry is static."""

    mac: str
    vni: int
    port: int
    local: IPv4Address
    parent: str
    mtu: int

    rank: ClassVar[int] = Layer.DEVICE + 1
    driver: ClassVar[str] = "vxlan"
    primitives: ClassVar[tuple[str, ...]] = ("vxlan",)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Device", self.ns, self.parent))

    @property
    def macs(self) -> Mapping[Key, str]:
        return {mac_of(self.ns, self.name): self.mac}

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Vxlan) and replace(self, mac=new.mac, mtu=new.mtu) == new

    def described(self) -> str:
        tunnel = fill("id {} local {} dev {} dstport {}", self.vni, self.local, self.parent, self.port)
        return f"{fill('address {}', self.mac)} mtu {self.mtu} type vxlan {tunnel} nolearning"

    def attributes(self, indexes: Indexes) -> bytes:
        data = (
            u32(_VXLAN_ID, self.vni)
            + u32(_VXLAN_LINK, indexes.index(self.ns, self.parent))
            + attribute(_VXLAN_LOCAL, self.local.packed)
            + attribute(_VXLAN_LEARNING, b"\0")
            + attribute(_VXLAN_PORT, struct.pack("!H", self.port))
        )
        return mac_attribute(self.mac) + driver_attribute("vxlan", data)

    def found(self, near: Interface, there: Mapping[str, Interfaces]) -> Device | None:
        parents = {link.index: name for name, link in there[self.ns].items()}
        return replace(
            self,
            mac=near.mac,
            mtu=near.mtu,
            vni=number(near.data.get(_VXLAN_ID)),
            port=int.from_bytes(near.data.get(_VXLAN_PORT, b""), "big"),
            local=IPv4Address(near.data.get(_VXLAN_LOCAL, bytes(4))),
            parent=parents.get(number(near.data.get(_VXLAN_LINK)), ""),
        )

    @property
    def label(self) -> str:
        return f"tunnel {self.name}"


@dataclass(frozen=True, slots=True)
class Ipip(Link):
    """The ipip driver's tunnel device. `fallback`: it is the one that the driver creates in each namespace."""

    mtu: int
    fallback: bool = field(default=False, compare=False)

    rank: ClassVar[int] = Layer.DEVICE + 1
    driver: ClassVar[str] = "ipip"
    primitives: ClassVar[tuple[str, ...]] = ("ipip",)

    @property
    def initial(self) -> KernelObject | None:
        return self if self.fallback else None

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Ipip)

    def described(self) -> str:
        return f"mtu {self.mtu} type ipip"

    def attributes(self, _indexes: Indexes) -> bytes:
        return driver_attribute("ipip")

    def found(self, near: Interface, _there: Mapping[str, Interfaces]) -> Device | None:
        return replace(self, mtu=near.mtu)

    @property
    def label(self) -> str:
        return f"tunnel {self.name}"


@dataclass(frozen=True, slots=True)
class Tun(Device):
    """The stand-in for a missing ipip driver: a process reads the packets routed to it, and writes received ones."""

    mtu: int

    rank: ClassVar[int] = Layer.DEVICE + 1
    unit: ClassVar[Unit] = "tun"
    driver: ClassVar[str] = "tun"
    primitives: ClassVar[tuple[str, ...]] = ("tun",)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Tun)

    def lines(self, step: Step) -> list[str]:
        if isinstance(step, Remove):
            return [fill("ip -n {} tuntap del dev {} mode tun", self.ns, self.name)]
        if isinstance(step, Replace):
            return self.settings_lines(step.old)
        return [
            fill("ip -n {} tuntap add dev {} mode tun", self.ns, self.name),
            fill("ip -n {} link set {} mtu {}", self.ns, self.name, self.mtu),
        ]

    def in_use(self, there: There) -> bool:
        return any(user.outlives and self.key in user.requires for user in there.objects())

    def found(self, near: Interface, _there: Mapping[str, Interfaces]) -> Device | None:
        return replace(self, mtu=near.mtu)

    @property
    def label(self) -> str:
        return f"tunnel {self.name}"
