"""Who speaks BGP with whom, as a lab file says it: `spec.cni.bgp`, in the words of Calico's BGPConfiguration."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from nslab.dataclass import dataclass

BIRD = "bird"
AS_NUMBER = 64512
"""Calico's default: the first of those for private use."""
RESTART_TIME = 120
"""BIRD's default, in seconds."""


@dataclass(frozen=True, slots=True)
class BgpPeer:
    """A BGPPeer of every node. `keep_next_hop`: it is told of other nodes' blocks with these nodes as next hops."""

    address: IPv4Address
    as_number: int = AS_NUMBER
    keep_next_hop: bool = False


@dataclass(frozen=True, slots=True)
class Bgp:
    """BGP between nodes. `mesh`: each with each; `reflectors`: nodes (names) with which all others speak instead.

    `services`: the ranges of ClusterIPs that each node announces. `restart_time`: the seconds for which a node's
    peers keep its routes after its BIRD was killed.
    """

    as_number: int = AS_NUMBER
    mesh: bool = True
    reflectors: tuple[str, ...] = ()
    peers: tuple[BgpPeer, ...] = ()
    services: tuple[IPv4Network, ...] = ()
    restart_time: int = RESTART_TIME


def read(value: str | dict[str, Any]) -> Bgp:
    """What `spec.cni.bgp` says: the daemon's name, or a mapping."""
    if isinstance(value, str):
        return Bgp()
    own, reflectors = value.get("asNumber", AS_NUMBER), tuple(value.get("routeReflectors", ()))
    return Bgp(
        as_number=own,
        mesh=value.get("nodeToNodeMeshEnabled", not reflectors),
        reflectors=reflectors,
        peers=tuple(_peer(one, own) for one in value.get("peers", ()) if "peerIP" in one),
        services=tuple(dict.fromkeys(map(IPv4Network, _ranges(value)))),
        restart_time=_seconds(value.get("nodeMeshMaxRestartTime", "")),
    )


def _ranges(value: dict[str, Any]) -> list[str]:
    return [one["cidr"] for one in value.get("serviceClusterIPs", ()) if "cidr" in one]


def _seconds(text: str) -> int:
    digits = text.removesuffix("s")
    return int(digits) if digits.isdecimal() else RESTART_TIME


def _peer(value: dict[str, Any], own: int) -> BgpPeer:
    return BgpPeer(IPv4Address(value["peerIP"]), value.get("asNumber", own), value.get("keepOriginalNextHop", False))


def written(bgp: Bgp) -> dict[str, Any]:
    """The mapping of which `read` makes this."""
    return {
        "daemon": BIRD,
        "asNumber": bgp.as_number,
        "nodeToNodeMeshEnabled": bgp.mesh,
        "routeReflectors": [*bgp.reflectors],
        "peers": [
            {"peerIP": str(one.address), "asNumber": one.as_number, "keepOriginalNextHop": one.keep_next_hop}
            for one in bgp.peers
        ],
        "serviceClusterIPs": [{"cidr": str(cidr)} for cidr in bgp.services],
        "nodeMeshMaxRestartTime": f"{bgp.restart_time}s",
    }
