"""Calls to Services: the source, the kind of address, and the expected endpoints (pure)."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.probes.probe import Outcome
from nslab.probes.spread import Spread, uneven

if TYPE_CHECKING:
    from ipaddress import IPv4Address


class Way(StrEnum):
    """The kind of address by which a client reaches a Service."""

    CLUSTER_IP = "cluster IP"
    NAME = "name"
    NODE_PORT = "node port"
    LOAD_BALANCER = "load balancer IP"
    EXTERNAL_IP = "external IP"
    HOST_PORT = "host port"
    """A pod's own, on its node."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An endpoint that may answer: the pod, its host name, the source that it must see, `near`: on the source's node.

    `sees` None: any source is right.
    """

    pod: str
    hostname: str
    sees: IPv4Address | None
    near: bool


@dataclass(frozen=True, slots=True)
class Call:
    """`times` connections from `source` to one port of a Service, and the expected result.

    `node`: the node whose rules translate. `name`: the name to resolve first (DNS must return `addresses`). `asks`: all
    endpoints are agnhost, which reports its host name and its client's address. `answers`: the possible endpoints, if
    `outcome` is REACHED. `policy`: Cluster or Local, for external traffic. `lost`: a router without routes to pods is
    on the path to some endpoint or to the DNS, or NetworkPolicies forbid it, so connections there may fail.
    """

    source: str
    service: str
    port_name: str
    protocol: str
    way: Way
    node: str
    addresses: tuple[IPv4Address, ...]
    port: int
    outcome: Outcome = Outcome.REACHED
    answers: tuple[Answer, ...] = ()
    asks: bool = True
    name: str = ""
    times: int = 1
    spread: Spread = Spread.ANY
    policy: str = ""
    lost: bool = False

    @property
    def column(self) -> str:
        """The column of the table that the call belongs to."""
        namespace, _, name = self.service.partition("/")
        short = name if namespace == "default" else f"{name}.{namespace}"
        port = f"{short}:{self.port_name}" if self.port_name else short
        match self.way:
            case Way.CLUSTER_IP:
                return port
            case Way.NAME:
                return f"{port} by name"
            case Way.NODE_PORT | Way.HOST_PORT:
                return f"{port} at {self.node}:{self.port}"
        return f"{port} at {self.addresses[0]}"

    def __str__(self) -> str:
        to = self.name or (self.addresses[0] if self.addresses else "?")
        many = f", {self.times} times" if self.times > 1 else ""
        return f"{self.source} -> {self.service} by {self.way}, {self.protocol.lower()} {to}:{self.port}{many}"


@dataclass(frozen=True, slots=True)
class Try:
    """The result of one connection: the server's host name, and the client's address that it saw."""

    outcome: Outcome
    hostname: str = ""
    seen_from: IPv4Address | None = None
    detail: str = ""
    ms: float = 0.0


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call. `unresolved`: DNS's error; then there are no tries.

    `lost_pods`: the endpoints that were seen to be drawn, and to be silent, when the call was followed.
    """

    call: Call
    tries: tuple[Try, ...]
    unresolved: str = ""
    lost_pods: tuple[str, ...] = ()

    @property
    def wrong(self) -> str:
        """The error in a few words; "" if the result is as expected."""
        if self.call.lost:
            return self._unexpected_answer()
        if self.unresolved:
            return self.unresolved
        if self.call.outcome is not Outcome.REACHED:
            other = next((attempt for attempt in self.tries if attempt.outcome is not self.call.outcome), None)
            return f"{_said(other)}, not {self.call.outcome}" if other else ""
        return self._lost() or self._unexpected_answer() or self._unfair()

    @property
    def answered(self) -> tuple[str, ...]:
        """The host names of the servers that answered, in the order of the connections."""
        return tuple(one.hostname for one in self.tries if one.hostname)

    @property
    def ms(self) -> float:
        """The time of the slowest connection, in milliseconds."""
        return max((one.ms for one in self.tries), default=0.0)

    @property
    def silent(self) -> tuple[Answer, ...]:
        """If some connection failed, the endpoints that never answered; all endpoints, if each answered once."""
        if self.call.lost or (all(one.outcome is Outcome.REACHED for one in self.tries) and not self.unresolved):
            return ()
        if self.lost_pods:
            return tuple(answer for answer in self.call.answers if answer.pod in self.lost_pods)
        return tuple(a for a in self.call.answers if a.hostname not in self.answered) or self.call.answers

    def _lost(self) -> str:
        lost = [one for one in self.tries if one.outcome is not Outcome.REACHED]
        if not lost:
            return ""
        return _said(lost[0]) if len(lost) == len(self.tries) else f"{len(lost)} of {len(self.tries)} {_said(lost[0])}"

    def _unexpected_answer(self) -> str:
        if not self.call.asks:
            return ""
        for one in self.tries:
            if self.call.lost and one.outcome is not Outcome.REACHED:
                continue
            sees = {answer.sees for answer in self.call.answers if answer.hostname == one.hostname}
            if not sees:
                return f"answered by {one.hostname or 'nobody'}"
            if one.seen_from and one.seen_from not in sees and None not in sees:
                return f"seen as {one.seen_from}"
        return ""

    def _unfair(self) -> str:
        names = [answer.hostname for answer in self.call.answers]
        return uneven(self.call.spread, self.answered, names) if self.call.asks else ""


def _said(one: Try) -> str:
    return f"reached {one.hostname}".strip() if one.outcome is Outcome.REACHED else one.outcome.value
