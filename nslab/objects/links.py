"""Interfaces: veth pairs, bridges, dummies. Tunnels have a module of their own."""

from __future__ import annotations

import errno
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, replace
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
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.objects.base import Step
    from nslab.objects.interfaces import Interface, Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes, Messages

_LINK_NET_NS_FD, _VETH_PEER = 28, 1


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


@dataclass(frozen=True, slots=True)
class Veth(Link):
    """A veth pair: `name` in `ns`, `peer` in `peer_ns`. It is one object: neither end exists alone."""

    mac: str
    peer_ns: str
    peer: str
    peer_mac: str
    mtu: int = 1500

    driver: ClassVar[str] = "veth"
    primitives: ClassVar[tuple[str, ...]] = ("veth",)

    @property
    def provides(self) -> tuple[Key, ...]:
        return (self.key, ("Device", self.peer_ns, self.peer))

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Netns", self.peer_ns))

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        # The other end in a removed namespace disappears only later, when its name may be needed again.
        return ()

    @property
    def may_be_gone(self) -> bool:
        # The kernel destroys a namespace some time after its last user left; this is the end outside of a veth into it.
        return not self.peer

    @property
    def macs(self) -> Mapping[Key, str]:
        return {mac_of(self.ns, self.name): self.mac, mac_of(self.peer_ns, self.peer): self.peer_mac}

    def ends(self) -> Iterator[tuple[str, str]]:
        yield self.ns, self.name
        yield self.peer_ns, self.peer

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Veth) and (self.peer_ns, self.peer) == (new.peer_ns, new.peer)

    def described(self) -> str:
        peer = fill("peer name {} netns {} address {}", self.peer, self.peer_ns, self.peer_mac)
        return f"{fill('address {}', self.mac)} mtu {self.mtu} type veth {peer} mtu {self.mtu}"

    def attributes(self, indexes: Indexes) -> bytes:
        peer = (
            link_header(indexes.fresh(self.peer_ns, self.peer))
            + text(LINK_NAME, self.peer)
            + u32(LINK_MTU, self.mtu)
            + mac_attribute(self.peer_mac)
            + u32(_LINK_NET_NS_FD, indexes.netns(self.peer_ns))
        )
        return mac_attribute(self.mac) + driver_attribute("veth", attribute(_VETH_PEER | NESTED, peer))

    def found(self, near: Interface, there: Mapping[str, Interfaces]) -> Device | None:
        far = there.get(self.peer_ns, {}).get(self.peer)
        if far is None or (near.peer, far.peer) != (far.index, near.index):
            return None
        mtu = far.mtu if near.mtu == self.mtu else near.mtu
        return replace(self, mac=near.mac, peer_mac=far.mac, mtu=mtu)

    @property
    def label(self) -> str:
        return f"cable {self.name} to {host(self.peer_ns)}'s {self.peer}"

    @property
    def sentence(self) -> str:
        far = f"{host(self.peer_ns)}'s {self.peer}"
        return f"a cable joins {self.host}'s {self.name} and {far} (MTU {self.mtu})"


@dataclass(frozen=True, slots=True)
class Bridge(Link):
    """A bridge: a learning switch."""

    mac: str
    mtu: int = 1500

    driver: ClassVar[str] = "bridge"
    primitives: ClassVar[tuple[str, ...]] = ("bridge",)

    @property
    def macs(self) -> Mapping[Key, str]:
        return {mac_of(self.ns, self.name): self.mac}

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Bridge)

    def described(self) -> str:
        return f"{fill('address {}', self.mac)} mtu {self.mtu} type bridge"

    def attributes(self, _indexes: Indexes) -> bytes:
        return mac_attribute(self.mac) + driver_attribute("bridge")

    def found(self, near: Interface, _there: Mapping[str, Interfaces]) -> Device | None:
        return replace(self, mac=near.mac, mtu=near.mtu)

    @property
    def label(self) -> str:
        return f"bridge {self.name}"


@dataclass(frozen=True, slots=True)
class Dummy(Link):
    """A dummy interface, which drops all packets; it only holds addresses, and stays down."""

    driver: ClassVar[str] = "dummy"
    primitives: ClassVar[tuple[str, ...]] = ("dummy",)

    @property
    def mtu(self) -> int:
        return 0

    def described(self) -> str:
        return "type dummy"

    def attributes(self, _indexes: Indexes) -> bytes:
        return driver_attribute("dummy")

    def found(self, _near: Interface, _there: Mapping[str, Interfaces]) -> Device | None:
        return self

    @property
    def label(self) -> str:
        return f"dummy interface {self.name}"

    @property
    def sentence(self) -> str:
        return f"{self.host} has {self.label}"


def seen(known: Iterable[KernelObject], there: Mapping[str, Interfaces]) -> Iterator[Device]:
    """The interfaces of `known` as they are in `there` (by namespace), or other interfaces with their names."""
    for obj in known:
        if isinstance(obj, Device) and (near := there[obj.ns].get(obj.name)):
            yield (obj.found(near, there) if near.kind == obj.driver else None) or _veth_to_nowhere(
                obj.ns, obj.name, near
            )


def strays(
    have: Iterable[KernelObject], known: Iterable[KernelObject], there: Mapping[str, Interfaces]
) -> Iterator[Device]:
    """Peers of veths whose near end no longer exists, or is in a namespace without a name."""
    veths = {(obj.peer_ns, obj.peer) for obj in have if isinstance(obj, Veth)}
    for obj in known:
        if not isinstance(obj, Veth):
            continue
        far = there.get(obj.peer_ns, {}).get(obj.peer)
        if far and (obj.peer_ns, obj.peer) not in veths:
            veths.add((obj.peer_ns, obj.peer))
            yield _veth_to_nowhere(obj.peer_ns, obj.peer, far)


def _veth_to_nowhere(ns: str, name: str, near: Interface) -> Veth:
    """A substitute for another interface with a known name: nslab can only remove it."""
    return Veth(ns, name, near.mac, ns, "", "", near.mtu)


def _settings(index: int, mtu: int, mac: str) -> bytes:
    return message(SETLINK, 0, link_header(index) + u32(LINK_MTU, mtu) + (mac_attribute(mac) if mac else b""))


def mac_attribute(address: str) -> bytes:
    """The attribute of a link-layer address."""
    return attribute(LINK_ADDRESS, mac_bytes(address))


def driver_attribute(kind: str, data: bytes = b"") -> bytes:
    """The attribute of an interface's kind, with the driver's own data."""
    body = text(INFO_KIND, kind) + (attribute(INFO_DATA | NESTED, data) if data else b"")
    return attribute(LINK_INFO | NESTED, body)
