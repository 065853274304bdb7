"""A machine that speaks BGP, and its sessions, as values of which a configuration is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

MESH, GLOBAL, NODE = "Mesh", "Global", "Node"
PEER_TYPES = {MESH: "node-to-node mesh", GLOBAL: "global", NODE: "node specific"}
"""How calicoctl calls a session, by the first word of its protocol's name."""


@dataclass(frozen=True, slots=True)
class BgpSession:
    """A session with `peer`. `source`: this machine's address in it. `passive`: the peer connects.

    `cluster_id`: the peer is a client of this route reflector; "" if it is not. `keep_next_hop`: routes are passed on
    with the next hop that they came with.
    """

    kind: str
    peer: IPv4Address
    source: IPv4Address
    as_number: int
    passive: bool = False
    cluster_id: str = ""
    keep_next_hop: bool = False

    @property
    def name(self) -> str:
        """Its protocol's name, as confd makes it: Mesh_192_168_59_23."""
        return f"{self.kind}_{str(self.peer).replace('.', '_')}"


@dataclass(frozen=True, slots=True)
class Pool:
    """The pool of pod addresses. `device`: the tunnel into which routes lead; "": none.

    `direct`: the subnet whose nodes need no tunnel. `by_felix`: Felix writes the routes (VXLAN), and BIRD does not.
    """

    cidr: IPv4Network
    device: str = ""
    direct: IPv4Network | None = None
    by_felix: bool = False


@dataclass(frozen=True, slots=True)
class Speaker:
    """A machine that speaks BGP: a node, with its `pool`, or a router outside the cluster, without.

    `blocks`: this node's blocks of addresses. `services`: the ranges of ClusterIPs that it announces. `restart_time`:
    seconds for which peers keep its routes while it does not run.
    """

    address: IPv4Address
    as_number: int
    sessions: tuple[BgpSession, ...]
    restart_time: int
    pool: Pool | None = None
    blocks: tuple[IPv4Network, ...] = ()
    services: tuple[IPv4Network, ...] = ()
