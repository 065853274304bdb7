"""A journey: what each host on the way did to a packet, and why (values only)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.trace.endpoints import TraceTarget
    from nslab.trace.observed import ConntrackEntry, Header, Match, RouteTaken, Visit


_ASKS = re.compile(r"-m mark --mark (0x[0-9a-f]*[1-9a-f][0-9a-f]*)/|meta mark & (0x[0-9a-f]+) == \2")
"""In the text of a rule of iptables or nft: a mark that must be there."""
BY_CONNTRACK = "conntrack; no rule does this"
BLACKHOLE = "a blackhole route drops it"
RP_FILTER = "its rp_filter drops it: no route leads back to where it came in"
NO_ROUTE = "it has no route there"
NO_FORWARDING = "it does not forward (ip_forward is 0)"
NO_FORWARDING_THERE = "it does not forward what comes in there (the interface's forwarding is 0)"
UNREACHABLE = "a route of its says unreachable"
PROHIBITED = "a route of its says prohibit"
TTL_OVER = "its TTL is over"
"""Causes, seen and predicted alike."""
TOLD = (NO_ROUTE, UNREACHABLE, PROHIBITED, TTL_OVER)
"""The causes of which the kernel tells the sender."""


def route_cause(first: RouteTaken | None, route: RouteTaken) -> str:
    """The route that a host chose for its own packet. `first`: before a rule gave it another target; None without."""
    if first is None or str(first) == str(route):
        return f"route {route}"
    return f"route {first}; after DNAT {route}"


def too_big(length: int, dev: str, mtu: int) -> str:
    """The cause of a loss, of which the sender is told: no host may fragment the packet. Both in bytes."""
    return f"its {length} bytes are more than the MTU of {dev}, {mtu}"


class Action(StrEnum):
    """What a host did."""

    SEND = "send"
    ENTER = "come in"
    BRIDGE = "bridge"
    DNAT = "DNAT"
    SNAT = "SNAT"
    REVERSE_DNAT = "reverse DNAT"
    REVERSE_SNAT = "reverse SNAT"
    FORWARD = "forward"
    ENCAPSULATE = "encapsulate"
    DECAPSULATE = "decapsulate"
    RECEIVE = "receive"
    DROP = "drop"
    REJECT = "reject"
    LOST = "lost"


TRANSLATIONS = (Action.DNAT, Action.SNAT, Action.REVERSE_DNAT, Action.REVERSE_SNAT)


class End(StrEnum):
    """How a journey ends."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    REJECTED = "rejected"
    DROPPED = "dropped"
    LOST = "timed out"
    LEFT = "out of sight"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Accepted:
    """A base chain that accepted a packet, by its last rule, which `by` wrote, or by its policy."""

    visit: Visit
    by: str = ""

    @property
    def rule(self) -> Match | None:
        """The rule that accepted it; None if the policy did."""
        return self.visit.matches[-1] if self.visit.matches and not self.visit.policy else None

    @property
    def marked(self) -> Match | None:
        """The rule before that set the mark for which the last one asks; None if that asks for none."""
        asked = _ASKS.search(self.rule.rule) if self.rule else None
        if not asked:
            return None
        bit = asked[1] or asked[2]
        sets = re.compile(f"--set-xmark {bit}/|meta mark set meta mark \\| {bit}$")
        return next((one for one in reversed(self.visit.matches) if sets.search(one.rule)), None)


@dataclass(frozen=True, slots=True)
class Hop:
    """One thing that a host did. `header`: afterwards; `before`: if it changed; `outer`: the tunnel's.

    `dev`: where it came in, or goes out. `cause`: the rule, the route or the setting; `by`: who wrote that; `matches`:
    the rules that matched, in order. `mtu`: of `dev`, in bytes. `command` shows the same. `accepted`: the base chains
    that the packet met there and that changed nothing of it; a prediction does not have them.
    """

    host: str
    action: Action
    header: Header
    reply: bool = False
    dev: str = ""
    before: Header | None = None
    outer: Header | None = None
    cause: str = ""
    by: str = ""
    matches: tuple[Match, ...] = ()
    mark: int = 0
    mtu: int = 0
    command: str = ""
    note: str = ""
    accepted: tuple[Accepted, ...] = ()


@dataclass(frozen=True, slots=True)
class NameAsked:
    """A question to DNS and its answer. `error`: "" if there was an address."""

    name: str
    server: IPv4Address
    addresses: tuple[IPv4Address, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Journey:
    """A packet's way and its reply's. `why`: if it was not delivered, the cause in one sentence.

    `differing`: what of the hosts on the way is not as the lab has it; only looked at if it was not delivered.
    `deviation`: where it left the way that the lab's state predicts, in one sentence; "" if it did not.
    `seconds`: from the first sight of the packet to the last of its reply. `names`: the questions to DNS before it.
    """

    lab: str
    source: str
    target: TraceTarget
    hops: tuple[Hop, ...]
    end: End
    why: str = ""
    differing: tuple[str, ...] = ()
    deviation: str = ""
    relay: tuple[Hop, ...] = ()
    """Of a Service in userspace mode: the hops of kube-proxy's own connection to an endpoint, there and back."""
    seconds: float = 0.0
    connections: tuple[ConntrackEntry, ...] = ()
    names: tuple[NameAsked, ...] = ()
    notes: tuple[str, ...] = ()
    chance: float | None = None
    """Of a prediction: with which chance it comes so, where rules draw lots; None if that is not known."""
    computed: bool = False
    """Whether it is a prediction."""

    def count(self, action: Action, *, reply: bool = False) -> int:
        """How many hops did something."""
        return sum(hop.action is action and hop.reply is reply for hop in self.hops)
