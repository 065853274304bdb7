"""Observe a lab: read the kernel's objects back in the form in which a plan has them.

Interfaces, chains and settings are found by the lab's names for them. Addresses, routes, entries and members are taken
as they are, on the lab's interfaces and in its sets, so that unmanaged ones show, too. This module reads; each family
of objects translates what was read.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.linux.netlink import batch as netlink
from nslab.linux.netns import named
from nslab.linux.observe.nft import tables
from nslab.linux.rules import restore
from nslab.objects import inet, ipset, iptables, ipvs, links, namespaces, neighbours, ports, sysctl
from nslab.objects import interfaces as objects_interfaces
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nslab.linux.cni.plugins import Plugins
    from nslab.linux.netns import Namespaces
    from nslab.objects.base import KernelObject, State
    from nslab.objects.interfaces import Interface, Interfaces


@dataclass(slots=True)
class Observation:
    """`have`: the lab's objects that exist. `unmanaged`: other rules and interfaces, by namespace."""

    have: list[KernelObject] = field(default_factory=list)
    unmanaged: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace under observation, with its interfaces. This thread is in it.

    `known`: the lab's objects that may exist in it; `ours`: the lab's interfaces that do; `iptables`: the variant.
    """

    spaces: Namespaces
    ns: str
    interfaces: Interfaces
    known: Sequence[KernelObject]
    ours: set[str]
    iptables: str

    def saved(self, *argv: str) -> str:
        """The output of a program that lists rules."""
        return restore.listed(*argv, lock=restore.lock_of(self.ns))

    def could_have(self, unit: str) -> bool:
        """Whether `known` has an object of a unit. If not, the caller runs no program, which would load modules."""
        return any(obj.unit == unit for obj in self.known)


Found: TypeAlias = "tuple[Iterable[KernelObject], Sequence[str]]"
"""The lab's objects, and the unmanaged ones as commands."""


def observe(spaces: Namespaces, lab: str, known: State, iptables: str, plugins: Plugins | None = None) -> Observation:
    """The kernel's objects of a lab, without processes. `known`: the objects that may exist, desired or older."""
    seen = Observation()
    existing = named(lab)
    by_ns: dict[str, list[KernelObject]] = {ns: [] for ns in existing}
    for obj in {obj.key: obj for obj in known}.values():
        by_ns.get(obj.ns, []).append(obj)
    found = {ns: interfaces(spaces.route_socket(ns)) for ns in existing}
    devices_of = _device_names(known)
    theirs = plugins.interfaces() if plugins else {}
    for ns in existing:
        seen.have += [namespaces.seen(ns), *links.seen(by_ns[ns], found)]
        ours = devices_of.get(ns, set()) & found[ns].keys()
        place = Place(spaces, ns, found[ns], by_ns[ns], ours, iptables)
        unmanaged: list[str] = []
        for read in _READERS:
            spaces.enter(ns)
            mine, others = read(place)
            seen.have += mine
            unmanaged += others
        known_by_name = ours | theirs.get(ns, set()) | {"lo"} | FALLBACK
        unmanaged += [f"interface {name}" for name in sorted(found[ns].keys() - known_by_name)]
        if unmanaged:
            seen.unmanaged[ns] = unmanaged
    seen.have += links.strays(seen.have, known, found)
    spaces.home()
    if plugins:
        seen.have += plugins.look(known, found)
    return seen


FALLBACK = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
"""Interfaces that drivers create in every namespace."""


def interfaces(sock: socket.socket) -> dict[str, Interface]:
    """The interfaces of a namespace, by name."""
    return objects_interfaces.interfaces(netlink.dump(sock, wire.GETLINK, wire.link_header()))


def _device_names(known: State) -> Mapping[str, set[str]]:
    """The interfaces that a lab makes, by namespace; a veth pair has two ends."""
    found: dict[str, set[str]] = {}
    for obj in known:
        for key in obj.provides:
            if key[0] == "Device":
                found.setdefault(key[1], set()).add(key[2])
    return found


def _states(place: Place) -> Found:
    return ports.seen(place.ns, place.ours, place.interfaces), ()


def _inet(place: Place) -> Found:
    sock = place.spaces.route_socket(place.ns)
    devices = {place.interfaces[name].index: name for name in place.ours}
    have: list[KernelObject] = [
        *inet.addresses_seen(place.ns, netlink.dump(sock, wire.GETADDR, struct.pack("=Bxxxi", 2, 0)), devices),
        *inet.routes_seen(place.ns, netlink.dump(sock, wire.GETROUTE, struct.pack("=B11x", 2)), devices),
        *neighbours.neighbours_seen(place.ns, netlink.dump(sock, wire.GETNEIGH, struct.pack("=B11x", 2)), devices),
    ]
    if any(place.interfaces[name].kind == "vxlan" for name in place.ours):
        bodies = netlink.dump(sock, wire.GETNEIGH, struct.pack("=B11x", neighbours.AF_BRIDGE))
        have += neighbours.forwarding_seen(place.ns, bodies, devices)
    return have, ()


def _settings(place: Place) -> Found:
    return sysctl.seen(place.known, _setting), ()


def _setting(path: str) -> str | None:
    """A setting of this thread's namespace; None if its interface is gone."""
    try:
        with open(f"/proc/sys/{path}") as file:
            return file.read()
    except OSError:
        return None


def _sets(place: Place) -> Found:
    if not place.could_have("ipset"):
        return (), ()
    return ipset.seen(place.ns, place.saved("ipset", "save"), place.known), ()


def _servers(place: Place) -> Found:
    if not place.could_have("ipvs"):
        return (), ()
    return ipvs.seen(place.ns, place.saved("ipvsadm", "-Sn"), place.known), ()


def _rules(place: Place) -> Found:
    if not place.could_have("iptables"):
        return (), ()
    return iptables.seen(place.ns, place.saved(f"{place.iptables}-save"), place.known)


def _ruleset(place: Place) -> Found:
    return tables(place.spaces, place.ns, place.known)


_READERS: tuple[Callable[[Place], Found], ...] = (_states, _inet, _settings, _sets, _servers, _rules, _ruleset)
