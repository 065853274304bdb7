"""A State indexed for a packet's look-ups: owners of addresses, routes, ends of veths."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.objects.inet import Address
from nslab.objects.links import Bridge, Veth
from nslab.objects.neighbours import Fdb, Neighbour
from nslab.objects.ports import BridgePort
from nslab.objects.routes import Blackhole, Route

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.objects.base import KernelObject, State
    from nslab.objects.devices import Device
    from nslab.objects.keys import Key

End: TypeAlias = tuple[str, str]
"""A namespace and an interface in it."""


@dataclass(slots=True)
class Topology:
    """The kernel's tables of a whole lab. `topology` makes it; it does not change afterwards."""

    objects: dict[Key, KernelObject] = field(default_factory=dict)
    addresses: dict[str, list[Address]] = field(default_factory=lambda: defaultdict(list))
    routes: dict[str, list[Route | Blackhole]] = field(default_factory=lambda: defaultdict(list))
    veths: dict[End, tuple[Veth, End]] = field(default_factory=dict)
    plugged: dict[End, list[str]] = field(default_factory=lambda: defaultdict(list))
    within: dict[str, list[KernelObject]] = field(default_factory=lambda: defaultdict(list))

    def owner(self, ns: str, address: IPv4Address) -> Address | None:
        """The object by which `address` is local in the namespace, or None."""
        return next((own for own in self.addresses[ns] if own.address.ip == address), None)

    def lookup(self, ns: str, to: IPv4Address) -> Route | Blackhole | Address | None:
        """The entry of the routing table of `ns` for `to`, or None. An address adds a route to its network."""
        connected = [
            own for own in self.addresses[ns] if own.address.network.prefixlen < 32 and to in own.address.network
        ]
        fitting = [*connected, *(route for route in self.routes[ns] if to in route.to)]
        # Longest prefix wins first (ip-route(8)).
        return max(fitting, key=_length, default=None)

    def device(self, ns: str, name: str) -> KernelObject | None:
        """The interface; for the peer of a veth, the veth."""
        veth = self.veths.get((ns, name))
        return veth[0] if veth else self.objects.get(("Device", ns, name))

    def port(self, ns: str, name: str) -> BridgePort | None:
        """The interface as a bridge's port, if it is one."""
        found = self.objects.get(("Port", ns, name))
        return found if isinstance(found, BridgePort) else None

    def bridge(self, ns: str, name: str) -> Bridge | None:
        """The bridge of that name."""
        found = self.objects.get(("Device", ns, name))
        return found if isinstance(found, Bridge) else None

    def tunnel_of(self, ns: str, kind: type[Device]) -> Device | None:
        """The namespace's tunnel device of a kind."""
        return next((obj for obj in self.within[ns] if isinstance(obj, kind)), None)

    def neighbour(self, ns: str, dev: str, address: IPv4Address) -> Neighbour | None:
        """The permanent ARP entry, if there is one."""
        found = self.objects.get(("Neighbour", ns, dev, str(address)))
        return found if isinstance(found, Neighbour) else None

    def forwarding(self, ns: str, dev: str, mac: str) -> Fdb | None:
        """The forwarding entry of a link-layer address, if there is one."""
        found = self.objects.get(("Fdb", ns, dev, mac))
        return found if isinstance(found, Fdb) else None


def topology(state: State) -> Topology:
    """The index of a state."""
    made = Topology()
    for obj in state:
        made.objects[obj.key] = obj
        made.within[obj.ns].append(obj)
        match obj:
            case Address():
                made.addresses[obj.ns].append(obj)
            case Route() | Blackhole():
                made.routes[obj.ns].append(obj)
            case Veth():
                near, far = (obj.ns, obj.name), (obj.peer_ns, obj.peer)
                made.veths[near], made.veths[far] = (obj, far), (obj, near)
            case BridgePort():
                made.plugged[obj.ns, obj.bridge].append(obj.dev)
            case _:
                pass
    return made


def _length(hop: Route | Blackhole | Address) -> int:
    return hop.address.network.prefixlen if isinstance(hop, Address) else hop.to.prefixlen
