"""The desired state: the contents of a lab file as frozen values (pure data, independent of the machine).

A value of a Kubernetes kind is a view of its `document`: the fields that nslab acts on. Allocated values (the address
of a pod, of a Service) are in the view only, until `dump` writes them into a document.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass, field
from nslab.policy.model import DEFAULT_DATAPLANE, DEFAULT_RELEASE

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from nslab.api.pod_types import Pod
    from nslab.api.selectors import Requirement
    from nslab.api.service_types import EndpointSlice, Service
    from nslab.lab.bgp import Bgp


class Encapsulation(StrEnum):
    """How a packet between pods crosses the node network (Calico's names)."""

    IPIP = "IPIP"
    IPIP_CROSS_SUBNET = "IPIPCrossSubnet"
    VXLAN = "VXLAN"
    VXLAN_CROSS_SUBNET = "VXLANCrossSubnet"
    NONE = "None"


class Plugin(StrEnum):
    """The network plugin of the cluster. `none`: pods have only loopback, and the user connects them by hand."""

    CALICO = "calico"
    KUBENET = "kubenet"
    FLANNEL = "flannel"
    NONE = "none"
    EXEC = "exec"
    """The CNI plugins of a configuration."""


class ProxyMode(StrEnum):
    """The mode of kube-proxy; `none`: there is no kube-proxy."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"
    USERSPACE = "userspace"
    NONE = "none"


class Scheduler(StrEnum):
    """IPVS's scheduler: round robin, weighted round robin, least connections, source hash, Maglev hash."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    SH = "sh"
    MH = "mh"


ZONE = "topology.kubernetes.io/zone"


@dataclass(frozen=True, slots=True)
class Networks:
    """The address ranges of a cluster; they do not overlap. `nodes`: one subnet, or several with routers between."""

    nodes: tuple[IPv4Network, ...]
    pods: IPv4Network
    services: IPv4Network


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster, with its part of the pod network."""

    name: str
    address: IPv4Address
    pod_cidr: IPv4Network
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def zone(self) -> str:
        """Where it stands, by its label; "" for nowhere in particular."""
        return dict(self.labels).get(ZONE, "")


@dataclass(frozen=True, slots=True)
class Client:
    """One machine outside the cluster, on the node network."""

    name: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Router:
    """One machine between subnets of the node network, with an address in each that it joins.

    `bgp`: the nodes announce their pods' blocks to it; without, it has routes to the nodes' subnets only. `as_number`:
    its autonomous system, where BIRD speaks BGP; 0: that of the nodes.
    """

    name: str
    addresses: tuple[IPv4Address, ...]
    bgp: bool = False
    as_number: int = 0


CONTROLLERS = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job")
"""The kinds that create pods from a template."""
DAEMON_SET = "DaemonSet"
TEMPLATE_HASH = "pod-template-hash"
"""The label by which a Deployment distinguishes the pods of one template from those of the next."""
REVISION_HASH = "controller-revision-hash"
"""The same of a StatefulSet or a DaemonSet."""
ONE_NUMBER = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
"""The kinds of controllers that can be scaled."""


@dataclass(frozen=True, slots=True)
class Controller:
    """A controller with a pod template. Its pods are among the lab's pods, with its `owner_name` as their owner.

    `kind`: Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet (one pod per node, so `replicas` is
    0) or Job (`replicas`: the number of pods that must succeed).
    """

    kind: str
    name: str
    replicas: int
    selector: tuple[Requirement, ...]
    template: Pod
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def owner_name(self) -> str:
        """KIND/NAMESPACE/NAME."""
        return f"{self.kind}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Kept:
    """An object that nslab keeps and does not act on."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Cni:
    """CNI plugins by exec: their configuration with placeholders (see `plugins`), and more directories to search.

    `routes`, `masquerade`: the lab adds routes between nodes, and masquerades packets that leave the pod network. On a
    real cluster a route controller and ip-masq-agent do that, unless the plugins do.
    """

    config: str
    path: tuple[str, ...] = ()
    routes: bool = True
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab: valid, with all defaults."""

    name: str
    networks: Networks
    plugin: Plugin
    encapsulation: Encapsulation
    proxy_mode: ProxyMode
    dns_address: IPv4Address | None
    nodes: tuple[Node, ...]
    clients: tuple[Client, ...]
    pods: tuple[Pod, ...]
    # The pods that no node admits: they have none, and wait for one.
    pending: tuple[Pod, ...] = ()
    # The last address that each node allocated: kubenet's allocator continues after it.
    last_reserved: tuple[tuple[str, IPv4Address], ...] = ()
    # Pod addresses that were given back, the longest ago first: Calico gives them again when there are no others.
    released: tuple[IPv4Address, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    controllers: tuple[Controller, ...] = ()
    scheduler: str = "rr"
    routers: tuple[Router, ...] = ()
    # The release whose rules Calico's Felix writes, and where it writes them: iptables or nftables.
    calico_version: str = DEFAULT_RELEASE
    dataplane: str = DEFAULT_DATAPLANE
    # BIRD runs on every node; None: nslab alone writes the routes that BIRD would.
    bgp: Bgp | None = None
    cni: Cni | None = None
    others: tuple[Kept, ...] = ()
    # The pods of controllers, NAMESPACE/NAME, that were deleted and replaced, the longest ago first.
    replaced: tuple[str, ...] = ()
    # The ReplicaSets of Deployments' earlier templates, as documents, the oldest first.
    replica_sets: tuple[dict[str, Any], ...] = ()
    # When it came up, and what came later (nslab.lab.creation), in seconds since 1970.
    created: tuple[tuple[str, int], ...] = ()

    @property
    def all_pods(self) -> tuple[Pod, ...]:
        """Those on nodes, and those that wait for one."""
        return (*self.pods, *self.pending)
