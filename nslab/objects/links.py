"""Interfaces: veth pairs, bridges, dummies. Tunnels have a module of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, replace
from nslab.objects.devices import Device, Link, driver_attribute, mac_attribute
from nslab.objects.interfaces import LINK_MTU, LINK_NAME, NESTED
from nslab.objects.keys import mac_of
from nslab.objects.names import host
from nslab.quote import fill
from nslab.wire.netlink import attribute, link_header, text, u32

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.objects.base import KernelObject
    from nslab.objects.interfaces import Interface, Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes

_LINK_NET_NS_FD, _VETH_PEER = 28, 1


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
