"""What is seen of one packet and of its reply while they pass through a lab (values only)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv4Network
    from typing import TypeAlias

    from nslab.probes.evidence import Conversation, Count, Unanswered, What

    Flow: TypeAlias = tuple[int, IPv4Address, int, IPv4Address, int, int]

PROTOCOLS = {1: "icmp", 4: "ipip", 6: "tcp", 17: "udp", 132: "sctp"}


@dataclass(frozen=True, slots=True)
class Header:
    """The fields of an IPv4 packet that hops change. `ports`: (0, 0) if it has none; `length`: bytes of the packet.

    `identity`: the identifier of an ICMP echo, 0 if it is none.
    """

    source: IPv4Address
    target: IPv4Address
    protocol: int
    ports: tuple[int, int] = (0, 0)
    ttl: int = 0
    length: int = 0
    identity: int = 0

    @property
    def ends(self) -> tuple[IPv4Address, int, IPv4Address, int]:
        """Source and target, each with its port."""
        return self.source, self.ports[0], self.target, self.ports[1]

    @property
    def reply_ends(self) -> tuple[IPv4Address, int, IPv4Address, int]:
        """The ends of a packet that answers it."""
        return self.target, self.ports[1], self.source, self.ports[0]

    @property
    def flow(self) -> Flow:
        """By what conntrack tells its connection from others."""
        return self.protocol, *self.ends, self.identity

    @property
    def reply_flow(self) -> Flow:
        """The flow of a packet that answers it."""
        return self.protocol, *self.reply_ends, self.identity

    @property
    def sender(self) -> str:
        """Its source, with the port if it has one."""
        return f"{self.source}:{self.ports[0] or '*'}" if any(self.ports) else f"{self.source}"

    @property
    def receiver(self) -> str:
        """Its target, with the port if it has one."""
        return f"{self.target}:{self.ports[1] or '*'}" if any(self.ports) else f"{self.target}"

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}"


@dataclass(frozen=True, slots=True)
class Passing:
    """A packet at an interface, at a time in nanoseconds. `leaving`: the host sends it.

    `astray`: its link-layer address is another host's; a bridge's ports see nothing else. `code`: type and code, of
    ICMP.
    """

    at: int
    host: str
    dev: str
    leaving: bool
    what: What
    header: Header
    outer: Header | None = None
    astray: bool = False
    code: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Match:
    """A rule that matched. `rule`: as its owner lists it, without its comment; "" if nobody could name it.

    `chance`: with which it matches, if the rules of its chain draw lots.
    """

    table: str
    chain: str
    verdict: str
    target: str = ""
    rule: str = ""
    comment: str = ""
    handle: int = 0
    chance: float = 1.0

    def __str__(self) -> str:
        return f'{self.rule} "{self.comment}"' if self.comment else self.rule


@dataclass(frozen=True, slots=True)
class Visit:
    """What one base chain did to a packet. `hook`: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.

    `header`, `mark`: as the chain met them. `verdict`: its last word (accept, drop, …); `policy`: whether its policy's.
    """

    table: str
    chain: str
    hook: int
    priority: int
    header: Header
    mark: int
    matches: tuple[Match, ...]
    verdict: str
    policy: bool = False


@dataclass(frozen=True, slots=True)
class Crossing:
    """One packet's way through the hooks of a host. `iif`, `oif`: names; "" for what the host sends or receives itself.

    `header`: before any rule; `tunnelled`: it is a tunnel's packet, and the rules see the outer header. `what`: None if
    the packet itself does not tell.
    """

    host: str
    what: What | None
    tunnelled: bool
    iif: str
    oif: str
    header: Header
    mark: int
    visits: tuple[Visit, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteQuestion:
    """A question for a host's routing: how would it send this packet? `iif`: "" for its own packets."""

    host: str
    header: Header
    iif: str = ""
    mark: int = 0


@dataclass(frozen=True, slots=True)
class RouteTaken:
    """The answer: a route. `to`: None if the kernel does not say; `error`: why there is none.

    `kind`: unicast, local, blackhole …; `protocol`: its author as ip-route(8) names it.
    """

    kind: str = ""
    to: IPv4Network | None = None
    via: IPv4Address | None = None
    dev: str = ""
    protocol: str = ""
    table: int = 0
    onlink: bool = False
    mac: str = ""
    """The next hop's link-layer address, if the kernel knows one."""
    error: str = ""

    def __str__(self) -> str:
        if self.error:
            return self.error
        words = [self.kind] if self.kind != "unicast" else []
        words += [str(self.to) if self.to.prefixlen else "default"] if self.to is not None else []
        words += [f"via {self.via}"] if self.via else []
        words += [f"dev {self.dev}"] if self.dev else []
        words += [f"proto {self.protocol}"] if self.protocol else []
        return " ".join([*words, *(["onlink"] if self.onlink else [])])


@dataclass(frozen=True, slots=True)
class Answered:
    """An ARP request of a host, the link-layer address that came, and the interface (HOST's DEV) that sent it."""

    host: str
    dev: str
    address: IPv4Address
    mac: str
    by: str = ""


@dataclass(frozen=True, slots=True)
class ConntrackEntry:
    """An entry of a host's conntrack: the original header, and that of the reply that it expects."""

    host: str
    original: Header
    reply: Header
    state: str = ""


@dataclass(frozen=True, slots=True)
class WatchedPacket:
    """All that was seen of one conversation, in order. `mtus`: by host and interface. `error`: the sender's.

    `renewed`: it began the time of a ClientIP affinity anew. `relayed`: the connection that a process made for it.
    """

    question: Conversation
    passings: tuple[Passing, ...]
    crossings: tuple[Crossing, ...]
    answered: tuple[Answered, ...] = ()
    unanswered: tuple[Unanswered, ...] = ()
    counts: tuple[Count, ...] = ()
    connections: tuple[ConntrackEntry, ...] = ()
    mtus: Mapping[tuple[str, str], int] | None = None
    error: str = ""
    renewed: bool = False
    relayed: tuple[Passing, ...] = ()
