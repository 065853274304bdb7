"""What all interfaces have in common: a name, an MTU, link-layer addresses, and messages that make and change them."""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import KernelObject, Remove, Replace
from nslab.objects.interfaces import INFO_DATA, INFO_KIND, LINK_ADDRESS, LINK_INFO, LINK_MTU, LINK_NAME, NESTED
from nslab.objects.keys import Layer, mac_of
from nslab.objects.names import host
from nslab.objects.netlink import Netlink
from nslab.quote import fill
from nslab.wire.netlink import (
    CREATE,
    DELLINK,
    EXCL,
    NEWLINK,
    SETLINK,
    attribute,
    link_header,
    mac_bytes,
    message,
    text,
    u32,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.objects.base import Step
    from nslab.objects.interfaces import Interface, Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages


@dataclass(frozen=True, slots=True)
class Device(KernelObject):
    """An interface, by name. `driver`: its kind (IFLA_INFO_KIND)."""

    name: str

    rank: ClassVar[int] = Layer.DEVICE
    driver: ClassVar[str]

    @property
    def key(self) -> Key:
        return ("Device", self.ns, self.name)

    @property
    @abstractmethod
    def mtu(self) -> int:
        """Its MTU in bytes; 0: nslab does not set it."""
        raise NotImplementedError

    def ends(self) -> Iterator[tuple[str, str]]:
        """Namespace and name of each of its interfaces."""
        yield self.ns, self.name

    @abstractmethod
    def found(self, near: Interface, there: Mapping[str, Interfaces]) -> Device | None:
        """The object with its interface's present settings; None if the interface is another object."""
        raise NotImplementedError

    def changed_ends(self, old: KernelObject) -> Iterator[tuple[str, str, str]]:
        """Namespace, name and new link-layer address ("" if it stays) of each interface, each set in its namespace.

        An address that stays is not set again: the kernel would flush all neighbours of the interface.
        """
        before, after = old.macs, self.macs
        for ns, name in self.ends():
            end = mac_of(ns, name)
            yield ns, name, "" if before.get(end) == after.get(end) else after[end]

    def settings_lines(self, old: KernelObject) -> list[str]:
        """The commands that turn `old` into this."""
        return [
            fill("ip -n {} link set {}", ns, name) + (fill(" address {}", mac) if mac else "") + f" mtu {self.mtu}"
            for ns, name, mac in self.changed_ends(old)
        ]

    def differing(self, old: KernelObject) -> str:
        if isinstance(old, Device) and old.mtu != self.mtu:
            return f"{self.host}'s {self.label} has MTU {old.mtu} instead of {self.mtu}{self.whose}"
        for ns, name, mac in self.changed_ends(old):
            if mac:
                was = old.macs[mac_of(ns, name)]
                return f"{host(ns)}'s {name} has MAC address {was} instead of {mac}{self.whose}"
        return KernelObject.differing(self, old)

    @property
    def sentence(self) -> str:
        return f"{self.host} has {self.label} (MTU {self.mtu})"


class Link(Device, Netlink):
    """An interface that an rtnetlink message creates."""

    __slots__ = ()

    error_if_there: ClassVar[int] = errno.EEXIST
    error_if_absent: ClassVar[int] = errno.ENODEV

    @abstractmethod
    def described(self) -> str:
        """The arguments of `ip link add` after the name."""
        raise NotImplementedError

    @abstractmethod
    def attributes(self, indexes: Indexes) -> bytes:
        """The attributes of RTM_NEWLINK after the name and MTU."""
        raise NotImplementedError

    def lines(self, step: Step) -> list[str]:
        if isinstance(step, Remove):
            return [fill("ip -n {} link del {}", self.ns, self.name)]
        if isinstance(step, Replace) and self.mtu:
            return self.settings_lines(step.old)
        return [f"{fill('ip -n {} link add {}', self.ns, self.name)} {self.described()}"]

    def messages(self, step: Step, indexes: Indexes) -> Messages:
        if isinstance(step, Remove):
            return [(self.ns, message(DELLINK, 0, link_header(indexes.index(self.ns, self.name))))]
        if isinstance(step, Replace) and self.mtu:
            ends = self.changed_ends(step.old)
            return [(ns, _settings(indexes.index(ns, name), self.mtu, mac)) for ns, name, mac in ends]
        # nslab chooses the index, so that it need not look up the new interface.
        own = text(LINK_NAME, self.name) + (u32(LINK_MTU, self.mtu) if self.mtu else b"") + self.attributes(indexes)
        return [(self.ns, message(NEWLINK, CREATE | EXCL, link_header(indexes.fresh(self.ns, self.name)) + own))]


def _settings(index: int, mtu: int, mac: str) -> bytes:
    return message(SETLINK, 0, link_header(index) + u32(LINK_MTU, mtu) + (mac_attribute(mac) if mac else b""))


def mac_attribute(address: str) -> bytes:
    """The attribute of a link-layer address."""
    return attribute(LINK_ADDRESS, mac_bytes(address))


def driver_attribute(kind: str, data: bytes = b"") -> bytes:
    """The attribute of an interface's kind, with the driver's own data."""
    body = text(INFO_KIND, kind) + (attribute(INFO_DATA | NESTED, data) if data else b"")
    return attribute(LINK_INFO | NESTED, body)
