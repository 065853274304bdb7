"""A probe and its result, as values."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Literal

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.policy.allowed import Denial


class Kind(StrEnum):
    """The kind of packet."""

    ICMP = "icmp"
    TCP = "tcp"
    UDP = "udp"
    MTU = "mtu"
    """An ICMP echo of `size` bytes that routers must not fragment (DF)."""


class Expected(StrEnum):
    """The expected result."""

    REACH = "reach"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class ProbeHost:
    """A host of the lab, as source or target. `node`: the node that it is, or is on; "" for a client."""

    name: str
    role: Literal["pod", "node", "client"]
    address: IPv4Address
    node: str = ""


@dataclass(frozen=True, slots=True)
class Probe:
    """One probe: a packet from `source` to `address` (of `target`), and its reply.

    `port`: the port of the target's own server; 0: the prober itself listens there. `asks`: that server is agnhost,
    which reports its client's address. `expected_source`: the source address that the target must see; None: any.
    `denied`: the NetworkPolicies because of which it is expected to fail, if it is because of them.
    """

    source: str
    target: str
    address: IPv4Address
    kind: Kind
    port: int = 0
    size: int = 0
    asks: bool = False
    expected: Expected = Expected.REACH
    expected_source: IPv4Address | None = None
    denied: Denial | None = None

    @property
    def pair(self) -> tuple[str, str]:
        """The cell of the matrix."""
        return self.source, self.target

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        size = f" of {self.size} bytes" if self.size else ""
        return f"{self.source} -> {self.target} {self.kind}{size} {self.address}{port}"


class Outcome(StrEnum):
    """The result of a probe or a connection."""

    REACHED = "reached"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TOO_BIG = "too big"
    TIMED_OUT = "timed out"
    ABSENT = "not there"
    """One of the two hosts does not exist."""
    ENDED = "ended"
    """The connection was established, and closed without a reply."""


@dataclass(frozen=True, slots=True)
class Result:
    """A result. `arrived_at`: the host that received the packet, even without a reply. `seen_from`: its source."""

    probe: Probe
    outcome: Outcome
    detail: str = ""
    arrived_at: str = ""
    seen_from: IPv4Address | None = None
    ms: float = 0.0

    @property
    def wrong(self) -> str:
        """What is wrong, in a few words; "" if all is as it should be."""
        if self.probe.expected is Expected.FAIL:
            return "reached" if self.outcome is Outcome.REACHED or self.arrived_at else ""
        if self.outcome is not Outcome.REACHED:
            return self.outcome.value
        if self.arrived_at not in ("", self.probe.target):
            return f"answered by {self.arrived_at}"
        if self.seen_from and self.probe.expected_source and self.seen_from != self.probe.expected_source:
            return f"seen as {self.seen_from}"
        return ""
