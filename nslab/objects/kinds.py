"""The nouns: every kind of thing in the kernel that a lab consists of.

Frozen values. Two objects with the same `key` are the same thing, perhaps with other settings: the difference between
them is a `Replace`. `by` names the component that does it on a real node; it is provenance, not identity.
What only the kernel knows (interface indexes, random addresses) has no place here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.objects.attachment import Attachment
from nslab.objects.balance import (
    Control,
    Dummy,
    KubeProxy,
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    RealServer,
    VirtualServer,
)
from nslab.objects.noun import Device, Key, Noun, OnDevice, Process, addressed, mac_of

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv4Interface, IPv4Network

__all__ = [
    "Address", "Attachment", "Blackhole", "Bridge", "Chain", "Check", "Control", "Device", "Dummy", "Fdb", "IpSet",
    "Ipip", "Jump", "Key", "KubeProxy", "Limits", "LinkUp", "Neighbour", "Netns", "NftChain", "NftElement", "NftSet",
    "NftTable", "NodeAgent", "Noun", "Object", "OnDevice", "Port", "Process", "RealServer", "Route", "Sandbox",
    "Security", "SetMember", "State", "Sysctl", "Table", "Tun", "TunnelAgent", "Veth", "VirtualServer", "Vxlan",
    "Workload", "addressed", "mac_of", "macs",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Netns(Noun):
    """A named network namespace; `host` is what it plays (a node, a pod, a client, the switch)."""

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Veth(Device):
    """Two interfaces joined by a cable: `name` in `ns`, `peer` in `peer_ns`. One object: neither end exists alone."""

    mac: str
    peer_ns: str
    peer: str
    peer_mac: str
    mtu: int = 1500

    @property
    def gives(self) -> tuple[Key, ...]:
        return (self.key, ("Device", self.peer_ns, self.peer))

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Netns", self.peer_ns))


@dataclass(frozen=True, slots=True)
class Bridge(Device):
    """A learning switch."""

    mac: str
    mtu: int = 1500


@dataclass(frozen=True, slots=True)
class Vxlan(Device):
    """A VXLAN tunnel end point without learning: every neighbour and every forwarding entry is given."""

    mac: str
    vni: int
    port: int
    local: IPv4Address
    parent: str
    mtu: int

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Device", self.ns, self.parent))


@dataclass(frozen=True, slots=True)
class Ipip(Device):
    """The driver's IP-in-IP tunnel. tunl0 is the driver's own: where `born`, each namespace has it from the start."""

    mtu: int
    born: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Tun(Device):
    """The stand-in for a driver that the kernel lacks: packets routed here are read and written by a process."""

    mtu: int


@dataclass(frozen=True, slots=True)
class Port(OnDevice):
    """An interface plugged into a bridge. With `hairpin`, a frame may go out where it came in."""

    bridge: str
    hairpin: bool = False

    @property
    def key(self) -> Key:
        return ("Port", self.ns, self.dev)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Device", self.ns, self.dev), ("Device", self.ns, self.bridge))


@dataclass(frozen=True, slots=True)
class LinkUp(OnDevice):
    """That an interface is administratively up."""

    @property
    def key(self) -> Key:
        return ("LinkUp", self.ns, self.dev)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        # lo is there as soon as its namespace is.
        return (("Netns", self.ns),) if self.dev == "lo" else (("Device", self.ns, self.dev),)


@dataclass(frozen=True, slots=True)
class Address(OnDevice):
    """An IPv4 address of an interface. With `broadcast`, the last address of its network speaks to all on the wire."""

    address: IPv4Interface
    broadcast: bool = False

    @property
    def key(self) -> Key:
        return ("Address", self.ns, self.dev, str(self.address))

    @property
    def gives(self) -> tuple[Key, ...]:
        return (self.key, addressed(self.ns, self.dev))


@dataclass(frozen=True, slots=True)
class Route(Noun):
    """In `ns`, packets for `to` leave through `dev`, by way of `via` if given.

    `link`: the destination is on the wire itself (scope link). `onlink`: `via` is, whatever the addresses say.
    `protocol` says who wrote it: kernel 2, boot 3, static 4, bird 12, bgp 186, Felix 80.
    """

    to: IPv4Network
    dev: str
    via: IPv4Address | None = None
    protocol: str = "boot"
    onlink: bool = False

    @property
    def key(self) -> Key:
        return ("Route", self.ns, str(self.to))

    @property
    def lies_on(self) -> tuple[Key, ...]:
        # A route needs no address on its device, but goes when the device goes down or loses its last one.
        return (("LinkUp", self.ns, self.dev), addressed(self.ns, self.dev))


@dataclass(frozen=True, slots=True)
class Blackhole(Noun):
    """In `ns`, packets for `to` that no longer prefix takes are dropped, so they cannot loop back out."""

    to: IPv4Network
    protocol: str

    @property
    def key(self) -> Key:
        return ("Route", self.ns, str(self.to))


@dataclass(frozen=True, slots=True)
class Neighbour(OnDevice):
    """A permanent ARP entry: nobody is asked for the link-layer address of `address`."""

    address: IPv4Address
    mac: str

    @property
    def key(self) -> Key:
        return ("Neighbour", self.ns, self.dev, str(self.address))

    @property
    def lies_on(self) -> tuple[Key, ...]:
        # Even permanent ones are flushed when the device goes down, loses its last address, or changes its own MAC.
        device, up = ("Device", self.ns, self.dev), ("LinkUp", self.ns, self.dev)
        return (device, up, addressed(self.ns, self.dev), mac_of(self.ns, self.dev))


@dataclass(frozen=True, slots=True)
class Fdb(OnDevice):
    """A permanent forwarding entry of a VXLAN device: frames for `mac` go to the machine `dst`."""

    mac: str
    dst: IPv4Address

    @property
    def key(self) -> Key:
        return ("Fdb", self.ns, self.dev, self.mac)


@dataclass(frozen=True, slots=True)
class Sysctl(Noun):
    """A kernel setting of the namespace. `path` is under /proc/sys, with slashes; `default` is what a new one has."""

    path: str
    value: str
    default: str = field(compare=False)

    @property
    def key(self) -> Key:
        return ("Sysctl", self.ns, self.path)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        match self.path.split("/"):
            case ["net", _, "conf" | "neigh", dev, _] if dev not in ("all", "default", "lo"):
                return (("Device", self.ns, dev),)
        return (("Netns", self.ns),)


@dataclass(frozen=True, slots=True)
class IpSet(Noun):
    """A named set of addresses or networks. `options`: what follows the type when it is made; Felix's, unless told."""

    name: str
    type: str
    options: str = "family inet hashsize 1024 maxelem 1048576"

    @property
    def key(self) -> Key:
        return ("IpSet", self.ns, self.name)


@dataclass(frozen=True, slots=True)
class SetMember(Noun):
    """One element of a set, as `ipset save` writes it."""

    set: str
    member: str

    @property
    def key(self) -> Key:
        return ("SetMember", self.ns, self.set, self.member)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("IpSet", self.ns, self.set),)


Table: TypeAlias = Literal["raw", "mangle", "nat", "filter"]


@dataclass(frozen=True, slots=True)
class Chain(Noun):
    """A chain of ours with its whole body: `rules` as `iptables-save` writes them, without `-A CHAIN`."""

    table: Table
    name: str
    rules: tuple[str, ...]

    @property
    def key(self) -> Key:
        return ("Chain", self.ns, self.table, self.name)


@dataclass(frozen=True, slots=True)
class Jump(Noun):
    """One rule in a built-in chain, which has other owners too: ours is put first or last, theirs are not moved."""

    table: Table
    chain: str
    rule: str
    place: Literal["first", "last"] = "first"

    @property
    def key(self) -> Key:
        return ("Jump", self.ns, self.table, self.chain, self.rule)


@dataclass(frozen=True, slots=True)
class NodeAgent(Process):
    """nslab-node: parent of what runs on a node, writer of its logs. It is its own node (`node == ns`)."""

    role: ClassVar[str] = "node"


@dataclass(frozen=True, slots=True)
class TunnelAgent(Process):
    """The process behind a `Tun`: packets in, IP protocol 4 out, and the way back."""

    role: ClassVar[str] = "tunnel"
    dev: str
    local: IPv4Address

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Device", self.ns, self.dev),)


@dataclass(frozen=True, slots=True)
class Sandbox(Process):
    """A pod's pause process: it holds the pod's namespaces (net, uts, ipc; pid when shared)."""

    role: ClassVar[str] = "pause"
    namespace: str
    pod: str
    uid: str
    hostname: str
    address: IPv4Address
    share_pid: bool
    resolv_conf: str


class Check(NamedTuple):
    """What the kubelet asks a container from time to time (in seconds), and how many answers turn its mind."""

    kind: Literal["httpGet", "tcpSocket"]
    port: int
    path: str = "/"
    initial_delay: int = 0
    period: int = 10
    timeout: int = 1
    successes: int = 1
    failures: int = 3


class Security(NamedTuple):
    """Whom a container runs as; `dropped`: capabilities that it does without, of those that runtimes leave."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    dropped: tuple[str, ...] = ()
    read_only: bool = False


ROOT = Security()
"""With all that runtimes leave by default."""


class Limits(NamedTuple):
    """What a container may use at most: bytes of memory and of files, and processes; 0: what is usual."""

    memory: int = 0
    storage: int = 0
    pids: int = 0


USUAL = Limits()


@dataclass(frozen=True, slots=True)
class Workload(Process):
    """One container of a pod: `argv` in the pod's namespaces. `port` (TCP) is polled until it answers; 0: none is.

    `backoff`: the seconds between its second end and its third start, from which the kubelet's waits grow.
    """

    container: str
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]
    working_dir: str
    port: int
    restart: Literal["Always", "OnFailure", "Never"] = "Always"
    readiness: Check | None = None
    liveness: Check | None = None
    backoff: float = 10.0
    security: Security = ROOT
    limits: Limits = USUAL

    @property
    def key(self) -> Key:
        return ("Process", self.ns, f"container/{self.container}")

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Process", self.ns, "pause"),)


Object: TypeAlias = (
    Netns
    | Veth
    | Bridge
    | Vxlan
    | Ipip
    | Tun
    | Port
    | LinkUp
    | Address
    | Route
    | Blackhole
    | Neighbour
    | Fdb
    | Sysctl
    | IpSet
    | SetMember
    | Chain
    | Jump
    | NodeAgent
    | TunnelAgent
    | Sandbox
    | Workload
    | Dummy
    | VirtualServer
    | RealServer
    | NftTable
    | NftSet
    | NftChain
    | NftElement
    | Control
    | KubeProxy
    | Attachment
)
"""Every noun. A new one makes mypy fail wherever a `match` over this union has not heard of it."""

State: TypeAlias = tuple[Object, ...]
"""Everything that must exist, in the order in which it is told; each object after those that it lies on."""


def macs(obj: Object) -> dict[Key, str]:
    """The link-layer address of each interface that the object is."""
    match obj:
        case Veth():
            return {mac_of(obj.ns, obj.name): obj.mac, mac_of(obj.peer_ns, obj.peer): obj.peer_mac}
        case Bridge() | Vxlan():
            return {mac_of(obj.ns, obj.name): obj.mac}
        case _:
            return {}
