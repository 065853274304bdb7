"""What was seen of one conversation while it was repeated: where its packets passed, and what counted them (pure)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.probes.probe import Kind

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.probes.calls import CallResult
    from nslab.probes.probe import Probe

DNS_PORT, DISCARD = 53, 9
"""DISCARD: where nothing listens. A refusal shows as well as an answer that a packet arrives."""


class What(StrEnum):
    """What a packet is within its conversation."""

    REQUEST = "request"
    REPLY = "reply"
    RESET = "reset"
    ERROR = "error"
    """An ICMP error that quotes the request or the reply."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A conversation to repeat. `size`: of the IP packet (Kind.MTU). `asks`: a TCP server that must say something."""

    source: str
    address: IPv4Address
    kind: Kind
    port: int = 0
    size: int = 0
    asks: bool = False


@dataclass(frozen=True, slots=True)
class Sighting:
    """A packet at an interface. `at`: the time in nanoseconds. `leaving`: the host sends it.

    `astray`: its link-layer address is another host's.
    """

    at: int
    host: str
    dev: str
    leaving: bool
    what: What
    source: IPv4Address
    target: IPv4Address
    astray: bool = False
    code: tuple[int, int] = (0, 0)
    """Type and code, of ICMP."""
    port: int = 0
    """The port that it goes to, but for ICMP."""

    @property
    def place(self) -> str:
        """Where, in words."""
        return f"{self.host}'s {self.dev}"


@dataclass(frozen=True, slots=True)
class Count:
    """A counter of a host that moved. `rule`: a rule or a policy of a firewall, as its owner lists it."""

    host: str
    name: str
    rule: bool = False


@dataclass(frozen=True, slots=True)
class Unanswered:
    """An ARP request that a host sent, and nobody answered."""

    host: str
    dev: str
    address: IPv4Address

    def __str__(self) -> str:
        return f"nobody answers its ARP requests for {self.address} on {self.dev}"


@dataclass(frozen=True, slots=True)
class Trail:
    """All sightings of one conversation in their order, and what the hosts counted meanwhile.

    `error`: what the source's kernel reported.
    """

    question: Conversation
    sightings: tuple[Sighting, ...] = ()
    counts: tuple[Count, ...] = ()
    error: str = ""
    unanswered: tuple[Unanswered, ...] = ()
    heard: bool = False
    """Whether a server said something."""

    def of(self, *kinds: What) -> list[Sighting]:
        """The sightings of some kinds."""
        return [one for one in self.sightings if one.what in kinds]

    @property
    def drew(self) -> IPv4Address:
        """The address to which the request went in the end: the endpoint that a Service's rules chose."""
        return next((one.target for one in reversed(self.of(What.REQUEST))), self.question.address)

    @property
    def answered(self) -> bool:
        """Whether a reply came back to the source: of a server that must say something, what it says."""
        return (self.heard or not self.question.asks) and self.reached

    @property
    def reached(self) -> bool:
        """Whether the other end's kernel replied."""
        return any(one.host == self.question.source and not one.leaving for one in self.of(What.REPLY))


def question(probe: Probe) -> Conversation:
    """A probe as a conversation to repeat."""
    return Conversation(probe.source, probe.address, probe.kind, probe.port or DISCARD, probe.size, probe.asks)


def question_of(result: CallResult, dns: IPv4Address | None) -> Conversation | None:
    """A call as a conversation to repeat; its look-up, if that failed. None: nobody repeats SCTP."""
    call = result.call
    if result.unresolved:
        return Conversation(call.source, dns, Kind.UDP, DNS_PORT) if dns else None
    if call.protocol == "SCTP" or not call.addresses:
        return None
    kind = Kind.UDP if call.protocol == "UDP" else Kind.TCP
    return Conversation(call.source, call.addresses[0], kind, call.port, asks=call.asks and kind is Kind.TCP)
