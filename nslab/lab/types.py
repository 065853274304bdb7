"""The wish: what a lab file asks for, as frozen values (pure data; nothing here looks at the machine).

Of an object of Kubernetes' this is a view: what nslab acts on, beside the `document`, which is whole. What is given to
an object (a pod's address, a Service's) is in the view alone, until `dump` writes it into the document's place.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from nslab.runtime.health_check import HealthCheck


class Encapsulation(StrEnum):
    """How a packet between pods crosses the node network (Calico's names)."""

    IPIP = "IPIP"
    IPIP_CROSS_SUBNET = "IPIPCrossSubnet"
    VXLAN = "VXLAN"
    VXLAN_CROSS_SUBNET = "VXLANCrossSubnet"
    NONE = "None"


class Plugin(StrEnum):
    """The network plugin of the cluster. `none`: pods are left with loopback alone, for somebody to wire by hand."""

    CALICO = "calico"
    KUBENET = "kubenet"
    NONE = "none"
    EXEC = "exec"
    """Whatever CNI plugins a configuration names."""


class ProxyMode(StrEnum):
    """How Services are carried."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"
    USERSPACE = "userspace"
    NONE = "none"


class Scheduler(StrEnum):
    """How IPVS chooses a real server: in turn, in turn by weight, the fewest connections, by hash."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    SH = "sh"
    MH = "mh"


class Protocol(StrEnum):
    """A transport protocol, as Kubernetes writes it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


PROTOCOLS = {str(protocol): protocol for protocol in Protocol}


@dataclass(frozen=True, slots=True)
class Networks:
    """The address ranges of a cluster; they do not overlap. `nodes`: one subnet, or several with routers between."""

    nodes: tuple[IPv4Network, ...]
    pods: IPv4Network
    services: IPv4Network


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster, with its share of the pod network."""

    name: str
    address: IPv4Address
    pod_cidr: IPv4Network


@dataclass(frozen=True, slots=True)
class Client:
    """One machine outside the cluster, on the node network."""

    name: str
    address: IPv4Address


@dataclass(frozen=True, slots=True)
class Router:
    """One machine between subnets of the node network, with an address in each that it joins.

    `bgp`: the nodes tell it where their pods are; without, it knows the nodes' subnets alone.
    """

    name: str
    addresses: tuple[IPv4Address, ...]
    bgp: bool = False


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container declares: where its server answers; 0 or the node's port that leads there."""

    port: int
    protocol: Protocol = Protocol.TCP
    name: str = ""
    host_port: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """What a pod or a container says of its rights, as far as it says so (None: it does not).

    `groups`, `fs_group`: a pod's. `add` and `drop` (capabilities, NET_RAW and the like, or ALL), `read_only` and
    `privileged`: a container's.
    """

    user: int | None = None
    group: int | None = None
    non_root: bool | None = None
    groups: tuple[int, ...] = ()
    fs_group: int | None = None
    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    read_only: bool = False
    privileged: bool = False


NOTHING_SAID = SecurityContext()
GRACE = 30
"""Seconds that a pod has to end, unless it says otherwise."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a container may use at most, in bytes; 0: what is usual."""

    memory: int = 0
    storage: int = 0


USUAL = Resources()


class RestartPolicy(StrEnum):
    """When the kubelet starts a container again that ended."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class StandIn:
    """What plays an image: it answers on these ports, or `ends` at once and well."""

    ports: tuple[ContainerPort, ...] = ()
    ends: bool = False


BUILT_IN = {"agnhost": "agnhost", "pause": "agnhost", "k8s-dns-kube-dns": "kubedns"}
"""The program of ours that stands for an image."""


def image_name(image: str) -> str:
    """An image's own name, without registry, tag and digest."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


@dataclass(frozen=True, slots=True)
class Container:
    """One process of a pod. `command` is what runs; without one, a program of ours (`builtin`).

    `standin`: what plays an image that is neither built in nor a tool (nslab.lab.images). `tty`: it has a terminal.
    `lifecycle`: its hooks, postStart and preStop.
    """

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = "/"
    ports: tuple[ContainerPort, ...] = ()
    readiness: HealthCheck | None = None
    liveness: HealthCheck | None = None
    security: SecurityContext = field(default=NOTHING_SAID, repr=False)
    limits: Resources = field(default=USUAL, repr=False)
    standin: StandIn | None = field(default=None, repr=False)
    tty: bool = field(default=False, repr=False)
    lifecycle: tuple[tuple[str, HealthCheck], ...] = field(default=(), repr=False)

    @property
    def builtin(self) -> str:
        """The program of ours that this is; "" if it has a command."""
        return "" if self.command else "standin" if self.standin else BUILT_IN.get(image_name(self.image), "")

    @property
    def argv(self) -> tuple[str, ...]:
        """What runs."""
        if self.standin is None:
            return (*(self.command or (self.builtin,)), *self.args)
        if self.standin.ends:
            return ("standin", "--exit")
        ports = (word for one in self.standin.ports for word in (f"--{one.protocol.lower()}", str(one.port)))
        return ("standin", "--container", self.name, "--image", self.image, *ports)


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, already on a node. `requested` is the address it asks for, `assigned` the one it has (its status).

    `owner`: the controller that made it (`Controller.owner_name`). `ready` is status, too: all its containers are.
    `grace`: seconds from TERM to KILL. `deletion`: when the last of them is over (seconds since 1970), of a pod that
    terminates, which belongs to no controller any more; 0: it does not.
    """

    name: str
    node: str
    containers: tuple[Container, ...]
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    share_process_namespace: bool = False
    hostname: str = ""
    uid: str = ""
    requested: IPv4Address | None = None
    assigned: IPv4Address | None = None
    restart_policy: RestartPolicy = RestartPolicy.ALWAYS
    owner: str = ""
    ready: bool = True
    security: SecurityContext = NOTHING_SAID
    grace: int = GRACE
    deletion: float = 0.0
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


class ServiceType(StrEnum):
    """How a Service is reached."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """Which endpoints traffic may go to: all, or those of the node where it came in."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service. `target`: the endpoints' port, by number or by the name that their containers gave it."""

    port: int
    target: int | str
    name: str = ""
    protocol: Protocol = Protocol.TCP
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """One Service, complete: what the API server would have given out is given out.

    `cluster_ip` is None for a headless one and for an ExternalName. `affinity`: seconds of ClientIP affinity, 0: none.
    `allocated`: what of it nobody asked for (clusterIP, ports[0].nodePort, …); that may change to make room.
    """

    name: str
    ports: tuple[ServicePort, ...] = ()
    namespace: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    type: ServiceType = ServiceType.CLUSTER_IP
    cluster_ip: IPv4Address | None = None
    selector: tuple[tuple[str, str], ...] = ()
    external_ips: tuple[IPv4Address, ...] = ()
    load_balancer_ips: tuple[IPv4Address, ...] = ()
    source_ranges: tuple[IPv4Network, ...] = ()
    affinity: int = 0
    external_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    internal_policy: TrafficPolicy = TrafficPolicy.CLUSTER
    health_check_node_port: int = 0
    external_name: str = ""
    publish_not_ready: bool = False
    allocated: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    """One endpoint of an EndpointSlice document. `pod`: NAMESPACE/NAME, if it says so (targetRef)."""

    address: IPv4Address
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    hostname: str = ""
    zones: tuple[str, ...] = ()
    pod: str = ""


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """Endpoints that were written by hand, for the Service that its label kubernetes.io/service-name names."""

    name: str
    service: str
    namespace: str = "default"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[tuple[str, int, Protocol], ...] = ()
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


CONTROLLERS = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job")
"""The kinds that make pods of a template."""
DAEMON_SET = "DaemonSet"
TEMPLATE_HASH = "pod-template-hash"
"""The label by which a Deployment tells the pods of one template from those of the next."""
ONE_NUMBER = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet")
"""The kinds of controllers that can be scaled."""


@dataclass(frozen=True, slots=True)
class Controller:
    """What makes pods of one template; they are among the lab's pods, with its `owner_name` as their owner.

    `kind`: Deployment, ReplicaSet, ReplicationController, StatefulSet, DaemonSet (one pod a node, so that `replicas` is
    0) or Job (`replicas`: how many pods run to their end).
    """

    kind: str
    name: str
    replicas: int
    selector: tuple[tuple[str, str], ...]
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
    """CNI plugins by exec: their configuration with its holes (see `plugins`), and where else they are looked for.

    `routes`, `masquerade`: the lab has the routes between nodes, and lets what leaves the pod network take the node's
    address: on a real cluster a route controller and ip-masq-agent do that, unless the plugins themselves do.
    """

    config: str
    path: tuple[str, ...] = ()
    routes: bool = True
    masquerade: bool = True


@dataclass(frozen=True, slots=True)
class Lab:
    """Everything that the user asked for, valid and complete."""

    name: str
    networks: Networks
    plugin: Plugin
    encapsulation: Encapsulation
    proxy_mode: ProxyMode
    dns_address: IPv4Address | None
    nodes: tuple[Node, ...]
    clients: tuple[Client, ...]
    pods: tuple[Pod, ...]
    # kubenet's allocator goes on where it stopped: the last address that each node gave out.
    last_reserved: tuple[tuple[str, IPv4Address], ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    controllers: tuple[Controller, ...] = ()
    scheduler: str = "rr"
    routers: tuple[Router, ...] = ()
    cni: Cni | None = None
    others: tuple[Kept, ...] = ()
