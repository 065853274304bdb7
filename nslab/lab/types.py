"""The wish: what a lab file asks for, as frozen values (pure data; nothing here looks at the machine)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Network


class Encapsulation(StrEnum):
    """How a packet between pods crosses the node network (Calico's names)."""

    IPIP = "IPIP"
    IPIP_CROSS_SUBNET = "IPIPCrossSubnet"
    VXLAN = "VXLAN"
    VXLAN_CROSS_SUBNET = "VXLANCrossSubnet"
    NONE = "None"


class Plugin(StrEnum):
    """The network plugin of the cluster."""

    CALICO = "calico"
    KUBENET = "kubenet"


class ProxyMode(StrEnum):
    """How Services are carried."""

    IPTABLES = "iptables"
    IPVS = "ipvs"
    NFTABLES = "nftables"
    USERSPACE = "userspace"
    NONE = "none"


class Protocol(StrEnum):
    """A transport protocol, as Kubernetes writes it."""

    TCP = "TCP"
    UDP = "UDP"
    SCTP = "SCTP"


@dataclass(frozen=True, slots=True)
class Networks:
    """The three address ranges of a cluster; they do not overlap."""

    nodes: IPv4Network
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
class ContainerPort:
    """A port that a container declares: where its server answers."""

    port: int
    protocol: Protocol = Protocol.TCP
    name: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One process of a pod. `command` is what runs; image `agnhost` without a command is the built-in server."""

    name: str
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str = "/"
    ports: tuple[ContainerPort, ...] = ()

    @property
    def builtin(self) -> bool:
        """Whether this is the built-in server: `agnhost`, of whatever registry and version, and no command."""
        image = self.image.rpartition("/")[2].partition("@")[0].partition(":")[0]
        return not self.command and image == "agnhost"


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod, already on a node. `requested` is the address it asks for, `assigned` the one it has (its status)."""

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
