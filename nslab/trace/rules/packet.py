"""A packet, a node's addresses, and what rules make of them (pure)."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from nslab.dataclass import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from fractions import Fraction

ICMP, TCP, UDP, SCTP = 1, 6, 17, 132
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
WITH_PORTS = frozenset((TCP, UDP, SCTP, 33, 136))
"""The protocols whose header begins with two ports: also DCCP and UDP-Lite."""
CHOSEN = (32768, 60999)
"""Linux chooses one of these ports (ip_local_port_range) for what has the port 0 here."""

CtState: TypeAlias = Literal["NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"]
AddressKind: TypeAlias = Literal["LOCAL", "BROADCAST", "MULTICAST", "UNICAST"]


class Flow4(NamedTuple):
    """A connection's tuple in one direction."""

    source: IPv4Address
    source_port: int
    destination: IPv4Address
    destination_port: int


@dataclass(frozen=True, slots=True)
class HookPacket:
    """A packet at a hook, with what conntrack knows of it. Interfaces are names, "" for none.

    `protocol`: its number. A port of 0: the sender's kernel is still to choose it. `state`, `status` (SNAT, DNAT,
    SEEN_REPLY, ASSURED, CONFIRMED …) and `ct_mark` are its connection's, `reply` its direction in that, `origin` the
    connection's first tuple; without it, the packet's own. `physdev_in`, `physdev_out`: the ports of the bridge that
    it crosses. `mac`: its source's; "" if nobody knows it; `uid`, `gid`: of the sending process; None if nobody knows
    them. `recent`: the lists of `-m recent` that have its source, within the seconds that a rule asks for; `added`:
    the lists and sets to which rules have added it meanwhile. `masquerade`: its source becomes an address of `oif`;
    `source_ports`: the ports that may replace its own.
    """

    source: IPv4Address
    destination: IPv4Address
    protocol: int = TCP
    source_port: int = 0
    destination_port: int = 0
    icmp_type: int = 8
    icmp_code: int = 0
    tcp_flags: int = SYN
    iif: str = ""
    oif: str = ""
    mark: int = 0
    ttl: int = 64
    length: int = 60
    tos: int = 0
    fragment: bool = False
    state: CtState = "NEW"
    status: frozenset[str] = frozenset()
    ct_mark: int = 0
    reply: bool = False
    origin: Flow4 | None = None
    physdev_in: str = ""
    physdev_out: str = ""
    pkttype: Literal["unicast", "broadcast", "multicast"] = "unicast"
    mac: str = ""
    uid: int | None = None
    gid: int | None = None
    recent: frozenset[str] = frozenset()
    added: frozenset[str] = frozenset()
    masquerade: bool = False
    source_ports: str = ""

    @property
    def flow(self) -> Flow4:
        """Its tuple, as it is now."""
        return Flow4(self.source, self.source_port, self.destination, self.destination_port)


_LOOPBACK, _ANY, _ALL_ONES = 127, IPv4Address(0), IPv4Address(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a node's addresses and routes answer.

    `local`: each address's interface, an interface's primary address first; 127.0.0.0/8 needs no entry. `broadcast`:
    the same for broadcast addresses. `routes`: the interfaces through which packets to an address, with a mark, leave;
    none if no route leads there. Without it, what a rule asks of the routes is unknown.
    """

    local: Mapping[IPv4Address, str] = field(default_factory=dict)
    broadcast: Mapping[IPv4Address, str] = field(default_factory=dict)
    routes: Callable[[IPv4Address, int], Collection[str]] | None = None

    def kind(self, address: IPv4Address, dev: str = "") -> AddressKind:
        """The type of an address, as `addrtype` and `fib … type` see it; on interface `dev` alone if it is given."""
        first = int(address) >> 24
        if address in (_ANY, _ALL_ONES):
            return "BROADCAST"
        if 224 <= first < 240:
            return "MULTICAST"
        if address in self.local or first == _LOOPBACK:
            return "LOCAL" if dev in ("", self.local.get(address, "lo")) else "UNICAST"
        on = self.broadcast.get(address)
        return "BROADCAST" if on is not None and dev in ("", on) else "UNICAST"

    def on(self, dev: str) -> IPv4Address | None:
        """An interface's primary address."""
        return next((address for address, own in self.local.items() if own == dev), None)


class Verdict(StrEnum):
    """What becomes of the packet at the hook."""

    ACCEPT = "ACCEPT"
    DROP = "DROP"
    REJECT = "REJECT"
    UNKNOWN = "UNKNOWN"


class Step(NamedTuple):
    """One rule that matched, or a chain's policy (`number` 0), and what came of it.

    `number` counts from 1 in the chain. `doubts`: what of the rule is not understood; the step is then one of two
    branches, and the one in which it did not match has the result "no match".
    """

    table: str
    chain: str
    number: int
    rule: str
    comment: str
    result: str
    doubts: tuple[str, ...] = ()


class HookOutcome(NamedTuple):
    """One way in which the hook may end. `chance`: None if it depends on a doubt. `reject`: with which message."""

    verdict: Verdict
    packet: HookPacket
    chance: Fraction | None
    steps: tuple[Step, ...]
    doubts: tuple[str, ...] = ()
    reject: str = ""
