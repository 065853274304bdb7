"""Pods and their containers as frozen values (pure data)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.api.selectors import NodeTerm
    from nslab.api.sources import ValueSource, VariablesSource
    from nslab.api.volumes import Volume, VolumeMount
    from nslab.runtime.health_check import HealthCheck


class Protocol(StrEnum):
    """A transport protocol, as Kubernetes writes it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


PROTOCOLS = {str(protocol): protocol for protocol in Protocol}


@dataclass(frozen=True, slots=True)
class ContainerPort:
    """A port that a container declares. `host_port`: the node's port that leads to it, 0 for none; `host_ip`: at this
    address of the node alone, "" for all.
    """

    port: int
    protocol: Protocol = Protocol.TCP
    name: str = ""
    host_port: int = field(default=0, repr=False)
    host_ip: str = field(default="", repr=False)


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

    `standin` replaces an image that is neither built in nor a tool (nslab.api.images). `tty`: it has a terminal.
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
    `behind`: the pod, NAMESPACE/NAME, that must be ready before this one starts. `host_network`: its containers use
    its node's network, address and hostname.
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
    subdomain: str = ""
    dns_name: str = ""
    dns: DnsSettings = CLUSTER_FIRST
    host_aliases: tuple[tuple[str, tuple[str, ...]], ...] = ()
    finished: bool = False
    host_network: bool = False
    document: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def uts_name(self) -> str:
        """What hostname(1) prints in its containers."""
        return self.node if self.host_network else self.hostname or self.name

    @property
    def every(self) -> tuple[Container, ...]:
        """All its containers, in the order in which they start."""
        return (*self.init, *self.containers)

    @property
    def mounted(self) -> tuple[Volume, ...]:
        """Its volumes that any of its containers mounts."""
        wanted = {mount.volume for container in self.every for mount in container.mounts}
        return tuple(one for one in self.volumes if one.name in wanted)
