"""What Felix knows: the policies, pods and namespaces of a cluster, and the node for which it writes.

Addresses and networks are strings, as rules and sets have them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal, TypeAlias

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from nslab.api.selectors import Requirement

Labels: TypeAlias = "tuple[tuple[str, str], ...]"
Direction: TypeAlias = Literal["ingress", "egress"]
DIRECTIONS: tuple[Direction, ...] = ("ingress", "egress")
DEFAULT_RELEASE, DEFAULT_DATAPLANE, NFTABLES = "3.30", "iptables", "nftables"
DATAPLANES = (DEFAULT_DATAPLANE, NFTABLES)
NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that the API server gives each namespace."""


@dataclass(frozen=True, slots=True)
class PolicyPeer:
    """The other end of a connection: pods by conditions on labels, or a network `block` without `excepts`.

    () are no conditions, so all; None: not given. `pods` alone: of the policy's namespace; `namespaces` alone: all pods
    there.
    """

    pods: tuple[Requirement, ...] | None = None
    namespaces: tuple[Requirement, ...] | None = None
    block: str = ""
    excepts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PolicyPort:
    """Ports of a protocol: a number, the numbers to `end`, a name that pods give to ports of theirs, or 0: all."""

    protocol: str = "TCP"
    port: int | str = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """A connection with one of the peers to one of the ports is allowed. (): with anybody, to all ports."""

    peers: tuple[PolicyPeer, ...] = ()
    ports: tuple[PolicyPort, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """A policy. `pods`: the conditions by which it selects some of its namespace.

    `ingress`, `egress`: the rules of a direction; None: the policy does not isolate its pods in that direction.
    """

    namespace: str
    name: str
    pods: tuple[Requirement, ...] = ()
    ingress: tuple[PolicyRule, ...] | None = None
    egress: tuple[PolicyRule, ...] | None = None

    def rules(self, direction: Direction) -> tuple[PolicyRule, ...] | None:
        """The rules of a direction."""
        return self.ingress if direction == "ingress" else self.egress


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A port of a container that has a name."""

    name: str
    port: int
    protocol: str = "TCP"


@dataclass(frozen=True, slots=True)
class WorkloadEndpoint:
    """A pod with a network of its own: none with hostNetwork, and none that has ended. `ip`: "" if it has none yet."""

    namespace: str
    name: str
    ip: str = ""
    node: str = ""
    labels: Labels = ()
    service_account: str = "default"
    ports: tuple[NamedPort, ...] = ()

    @property
    def interface(self) -> str:
        """The node's end of its link."""
        return "cali" + hashlib.sha1(f"{self.namespace}.{self.name}".encode()).hexdigest()[:11]


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace with the labels that somebody gave it."""

    name: str
    labels: Labels = ()

    @property
    def all_labels(self) -> dict[str, str]:
        """Its labels, with the one that the API server adds."""
        return {**dict(self.labels), NAMESPACE_NAME: self.name}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What all nodes have in common. A namespace that is not among them has no labels but its name."""

    policies: tuple[NetworkPolicy, ...] = ()
    workloads: tuple[WorkloadEndpoint, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    pools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FelixNode:
    """The node of a Felix, and its settings.

    `version`: Calico's, one of nslab.policy.release.RELEASES. `addresses`: the node's own, its tunnel's among them.
    `tunnel`: tunl0, vxlan.calico, or "" for no encapsulation. `tunnel_peers`: whose encapsulated packets it takes.
    `announced`: the ranges of Services that the nodes announce by BGP. `dataplane`: iptables or nftables. `ipvs`:
    kube-proxy's mode is ipvs, beside which Felix marks pods' packets (with iptables alone).
    """

    name: str
    addresses: tuple[str, ...] = ()
    tunnel: str = ""
    tunnel_peers: tuple[str, ...] = ()
    version: str = DEFAULT_RELEASE
    announced: tuple[str, ...] = ()
    dataplane: str = DEFAULT_DATAPLANE
    ipvs: bool = False
