"""The desired state: the contents of a lab file as frozen values (pure data, independent of the machine).

A value of a Kubernetes kind is a view of its `document`: the fields that nslab acts on. Allocated values (the address
of a pod, of a Service) are in the view only, until `dump` writes them into a document.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network

    from nslab.api.selectors import NodeTerm, Requirement
    from nslab.lab.sources import ValueSource, VariablesSource
    from nslab.lab.volumes import Volume, VolumeMount
    from nslab.runtime.health_check import HealthCheck


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


class Protocol(StrEnum):
    """A transport protocol, as Kubernetes writes it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


PROTOCOLS = {str(protocol): protocol for protocol in Protocol}
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

    `bgp`: the nodes announce their pods' blocks to it; without, it has routes to the nodes' subnets only.
    """

    name: str
    addresses: tuple[IPv4Address, ...]
    bgp: bool = False


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container declares. `host_port`: the node's port that leads to it, 0 for none."""

    port: int
    protocol: Protocol = Protocol.TCP
    name: str = ""
    host_port: int = field(default=0, repr=False)


@dataclass(frozen=True, slots=True)
class SecurityContext:
    """The securityContext of a pod or a container; None: not set.

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
    """A container's limits in bytes; 0: the default."""

    memory: int = 0
    storage: int = 0


USUAL = Resources()


class RestartPolicy(StrEnum):
    """When the kubelet restarts a container that exited."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True)
class StandIn:
    """The program that replaces an image: it listens on these ports, or (`ends`) exits at once with status 0.

    `dns`: on its UDP ports, and the TCP ports of the same numbers, it is the cluster's name server.
    """

    ports: tuple[ContainerPort, ...] = ()
    ends: bool = False
    dns: bool = False

    @property
    def flags(self) -> tuple[str, ...]:
        """The program's flags: a port each."""
        dns = {one.port for one in self.ports if one.protocol is Protocol.UDP} if self.dns else set[int]()
        flags = ((f"--{'dns' if one.port in dns else one.protocol.lower()}", str(one.port)) for one in self.ports)
        return tuple(word for flag in dict.fromkeys(flags) for word in flag)


BUILT_IN = {"agnhost": "agnhost", "pause": "agnhost", "k8s-dns-kube-dns": "kubedns"}
"""The built-in program for an image."""


def image_name(image: str) -> str:
    """An image's own name, without registry, tag and digest."""
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


@dataclass(frozen=True, slots=True)
class Container:
    """One container of a pod. It runs `command`; without one, a built-in program (`builtin`).

    `standin` replaces an image that is neither built in nor a tool (nslab.lab.images). `tty`: it has a terminal.
    `lifecycle`: its hooks, postStart and preStop. `sidecar`: an init container that runs beside what follows.
    `value_sources`: the source of each value of `env` that is "" there, by index. `env_from`: further variables.
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
    startup: HealthCheck | None = field(default=None, repr=False)
    security: SecurityContext = field(default=NOTHING_SAID, repr=False)
    limits: Resources = field(default=USUAL, repr=False)
    standin: StandIn | None = field(default=None, repr=False)
    tty: bool = field(default=False, repr=False)
    lifecycle: tuple[tuple[str, HealthCheck], ...] = field(default=(), repr=False)
    sidecar: bool = field(default=False, repr=False)
    value_sources: tuple[tuple[int, ValueSource], ...] = field(default=(), repr=False)
    env_from: tuple[VariablesSource, ...] = field(default=(), repr=False)
    mounts: tuple[VolumeMount, ...] = field(default=(), repr=False)

    @property
    def builtin(self) -> str:
        """The built-in program; "" if there is none or it has a command."""
        return "" if self.command else "standin" if self.standin else BUILT_IN.get(image_name(self.image), "")

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line."""
        if self.standin is None:
            return (*(self.command or (self.builtin,)), *self.args)
        if self.standin.ends:
            return ("standin", "--exit")
        return ("standin", "--container", self.name, "--image", self.image, *self.standin.flags)


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """A pod's dnsPolicy and dnsConfig."""

    policy: str = "ClusterFirst"
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()


CLUSTER_FIRST = DnsSettings()


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, already on a node. `requested`: the address it requests; `assigned`: the one it has (its status).

    `owner`: its controller (`Controller.owner_name`). `ready` and `finished` are status, too: all its containers are
    ready; it has Succeeded or Failed. `service_links`: its containers have variables for Services.
    `grace`: seconds from SIGTERM to SIGKILL. `deletion`: of a terminating pod, when they are over (seconds since 1970);
    0: it does not terminate. A terminating pod belongs to no controller. `init`: its init containers.
    `dns_name`: its name below the Service `subdomain`, if it requests one. `node_affinity`: the required terms.
    `behind`: the pod, NAMESPACE/NAME, that must be ready before this one starts.
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
    init: tuple[Container, ...] = ()
    service_account: str = "default"
    service_links: bool = True
    volumes: tuple[Volume, ...] = ()
    node_selector: tuple[tuple[str, str], ...] = ()
    node_affinity: tuple[NodeTerm, ...] = ()
    behind: str = ""
    subdomain: str = ""
    dns_name: str = ""
    dns: DnsSettings = CLUSTER_FIRST
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    finished: bool = False
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def every(self) -> tuple[Container, ...]:
        """All its containers, in the order in which they start."""
        return (*self.init, *self.containers)

    @property
    def mounted(self) -> tuple[Volume, ...]:
        """Its volumes that any of its containers mounts."""
        wanted = {mount.volume for container in self.every for mount in container.mounts}
        return tuple(one for one in self.volumes if one.name in wanted)


class ServiceType(StrEnum):
    """How a Service is reached."""

    CLUSTER_IP = "ClusterIP"
    NODE_PORT = "NodePort"
    LOAD_BALANCER = "LoadBalancer"
    EXTERNAL_NAME = "ExternalName"


class TrafficPolicy(StrEnum):
    """The endpoints for traffic: all, or those of the node that received it."""

    CLUSTER = "Cluster"
    LOCAL = "Local"


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One port of a Service. `target`: the endpoints' port, by number or by its name in their containers."""

    port: int
    target: int | str
    name: str = ""
    protocol: Protocol = Protocol.TCP
    node_port: int = 0


@dataclass(frozen=True, slots=True)
class Service:
    """One Service, with all values that the API server allocates.

    `cluster_ip` is None for a headless one and for an ExternalName. `affinity`: seconds of ClientIP affinity, 0: none.
    `load_balancer_ips`: those that kube-proxy intercepts (ipMode VIP). `traffic`: its trafficDistribution.
    `other_proxy`: a label assigns it to another proxy than kube-proxy.
    `allocated`: the fields that its file leaves unset (clusterIP, ports[0].nodePort, …); their values may change.
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
    traffic: str = ""
    other_proxy: bool = False
    allocated: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class SliceEndpoint:
    """One endpoint of an EndpointSlice document. `pod`: NAMESPACE/NAME of its targetRef, or "".

    `zones`, `nodes`: its hints.
    """

    address: IPv4Address
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    node: str = ""
    hostname: str = ""
    zones: tuple[str, ...] = ()
    pod: str = ""
    nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """Endpoints that the user wrote, for the Service that the label kubernetes.io/service-name names.

    Only those with IPv4 addresses: the IPv4 kube-proxy does not read others. `other_proxy`: as in a Service.
    """

    name: str
    service: str
    namespace: str = "default"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[tuple[str, int, Protocol], ...] = ()
    other_proxy: bool = False
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)


CONTROLLERS = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job")
"""The kinds that create pods from a template."""
DAEMON_SET = "DaemonSet"
TEMPLATE_HASH = "pod-template-hash"
"""The label by which a Deployment distinguishes the pods of one template from those of the next."""
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
    # The last address that each node allocated: kubenet's allocator continues after it.
    last_reserved: tuple[tuple[str, IPv4Address], ...] = ()
    # Pod addresses that were given back, the longest ago first: Calico gives them again when there are no others.
    released: tuple[IPv4Address, ...] = ()
    services: tuple[Service, ...] = ()
    slices: tuple[EndpointSlice, ...] = ()
    controllers: tuple[Controller, ...] = ()
    scheduler: str = "rr"
    routers: tuple[Router, ...] = ()
    cni: Cni | None = None
    others: tuple[Kept, ...] = ()
