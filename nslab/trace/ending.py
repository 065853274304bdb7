"""Where a followed conversation ends, and what was counted there, in words (pure)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.objects.names import SWITCH, ifname
from nslab.probes.evidence import What

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.probes.evidence import Sighting, Trail

RP_FILTERED = "TcpExt.IPReversePathFilter"
_COUNTED = {
    RP_FILTERED: "meanwhile its rp_filter dropped packets that came in where no route leads back",
    "Ip.InAddrErrors": "it does not forward what came in meanwhile (ip_forward is 0, or that of the interface)",
    "Ip.InDiscards": "meanwhile it discarded packets that came in: a queue was full",
    "Ip.OutNoRoutes": "it had no route for what it sent meanwhile",
    "IpExt.InNoRoutes": "it had no route for what came in meanwhile",
    "IpExt.InCsumErrors": "meanwhile IP headers with a wrong checksum came in",
    "TcpExt.ListenDrops": "meanwhile its server accepted no more connections",
    "Udp.InCsumErrors": "meanwhile datagrams with a wrong checksum came in",
    "Udp.RcvbufErrors": "meanwhile its server left datagrams unread until there was no room for more",
}
_ERRORS = {
    (3, 0): "it has no route there (network unreachable)",
    (3, 1): "it cannot reach that address (host unreachable)",
    (3, 2): "protocol unreachable",
    (3, 3): "port unreachable",
    (3, 4): "the packet is too big for its next link (fragmentation needed)",
    (3, 9): "a route prohibits it",
    (3, 10): "a rule or a route prohibits it",
    (3, 13): "a rule or a route prohibits it (administratively prohibited)",
    (11, 0): "it has gone in a circle (time exceeded)",
}
NET_UNREACHABLE, PORT_UNREACHABLE, TIME_EXCEEDED = (3, 0), (3, 3), (11, 0)


@dataclass(frozen=True, slots=True)
class Ending:
    """The last place where a conversation was seen. `sent`: what was sent from there in answer (RESET or ERROR).

    `leaving`: it left the host there. `back`: it was the answer. `arrived`: the target got the request, and is silent.
    `mute`: the target's kernel accepted a connection, and its server says nothing. `port`: where the request went.
    `because`: what was counted on the host.
    """

    host: str
    dev: str = ""
    leaving: bool = False
    back: bool = False
    arrived: bool = False
    sent: What | None = None
    code: tuple[int, int] = (0, 0)
    port: int = 0
    because: tuple[str, ...] = ()
    answered: bool = False
    mute: bool = False

    @property
    def refused(self) -> bool:
        """Whether the host says that nothing listens there."""
        return not self.because and (self.sent is What.RESET or self.code == PORT_UNREACHABLE)


def ending(trail: Trail, target: str) -> Ending:
    """Where the conversation ends. `target`: the host that should answer ("" if that is not known)."""
    requests = _telling(trail, What.REQUEST, target)
    answers = trail.of(What.RESET, What.ERROR)
    port = requests[-1].port if requests else trail.question.port
    if trail.answered:
        return Ending(trail.question.source, answered=True)
    if trail.reached:
        return Ending(target or trail.question.source, mute=True)
    if answers:
        first = answers[0]
        because = _rules(trail, first.host)
        return Ending(first.host, first.dev, sent=first.what, code=first.code, port=port, because=because)
    replies = _telling(trail, What.REPLY, trail.question.source)
    if replies:
        return _at(replies[-1], trail, back=True, port=port)
    if not requests:
        return Ending(trail.question.source, because=_why(trail, trail.question.source), port=port)
    arrived = next((one for one in requests if one.host == target and not one.leaving and not one.astray), None)
    return _at(arrived or requests[-1], trail, arrived=arrived is not None, port=port)


def _telling(trail: Trail, what: What, end: str) -> list[Sighting]:
    """The sightings that tell where a packet is: no copies that a bridge floods, and of the switch, what it passes on.

    `end`: the host for which the packet is.
    """
    found = trail.of(what)
    strays = [one for one in found if one.astray and one.host != end]
    flooded = {ifname(name) for one in strays for name in (one.host, f"{one.host}.{one.dev}")}
    return [
        one
        for one in found
        if (one.leaving and one.dev not in flooded if one.host == SWITCH else not one.astray or one.host == end)
    ]


def _at(one: Sighting, trail: Trail, *, back: bool = False, arrived: bool = False, port: int = 0) -> Ending:
    because = _switched(one, trail) if one.leaving else _why(trail, one.host)
    if one.astray and one.host != SWITCH:
        because = (f"its link-layer address is not that of {one.host}'s {one.dev}",)
    return Ending(one.host, one.dev, one.leaving, back, arrived, port=port, because=because)


def _switched(one: Sighting, trail: Trail) -> tuple[str, ...]:
    """What the switch counted, if it got the packet and did not pass it on."""
    if one.host == SWITCH or not any(other.host == SWITCH and other.at >= one.at for other in trail.sightings):
        return ()
    return tuple(
        f"meanwhile {SWITCH}'s {count.name} counted packets"
        for count in trail.counts
        if count.host == SWITCH and count.rule
    )


def _why(trail: Trail, host: str) -> tuple[str, ...]:
    counted = (_COUNTED[count.name] for count in trail.counts if count.host == host and not count.rule)
    asked = (f"{one}" for one in trail.unanswered if one.host == host)
    return (*_rules(trail, host), *dict.fromkeys(counted), *asked)


def _rules(trail: Trail, host: str) -> tuple[str, ...]:
    return tuple(
        f"meanwhile its {count.name} counted packets" for count in trail.counts if count.host == host and count.rule
    )


def described(found: Sequence[Ending], trails: Iterable[Trail] = ()) -> str:
    """One sentence about the endings of several conversations: what most of them share."""
    kinds = Counter(_kind(one) for one in found)
    kind, number = max(kinds.items(), key=_weight)
    alike = [one for one in found if _kind(one) == kind]
    devs = list(dict.fromkeys(one.dev for one in alike if one.dev))
    some = few(devs)
    some_of = f"{number} of {len(found)}: " if number < len(found) else _passed(trails, len(found))
    return f"{some_of}{_words(alike[0], some)}{_because(alike[0])}"


def _weight(counted: tuple[tuple[object, ...], int]) -> tuple[bool, int]:
    """What was counted somewhere tells more than what was not."""
    *_, because = counted[0]
    return bool(because), counted[1]


def _kind(one: Ending) -> tuple[object, ...]:
    return one.host, one.leaving, one.back, one.arrived, one.sent, one.code, one.answered, one.mute, one.because


def _words(one: Ending, devs: str) -> str:
    what = "the answer was last seen" if one.back else "last seen"
    if one.answered:
        return "repeated, it is answered"
    if one.mute:
        return f"{one.host} accepts the connection, and its server says nothing over it"
    if one.sent is What.RESET or one.code == PORT_UNREACHABLE:
        return f"{one.host} refuses it ({'port unreachable' if one.sent is What.ERROR else 'TCP reset'})"
    if one.sent is What.ERROR:
        return f"{one.host} answers with an ICMP error: {_ERRORS.get(one.code, 'type {} code {}'.format(*one.code))}"
    if not devs:
        return f"{one.host} sends nothing"
    if one.arrived:
        return f"it comes in at {one.host}'s {devs}, and {one.host} does not answer"
    if one.leaving:
        return f"{what} leaving {one.host}'s {devs}, and nowhere after that"
    if one.host == SWITCH:
        return f"{what} at the {SWITCH}'s {devs}"
    return f"{what} coming in at {one.host}'s {devs}, never leaving {one.host}"


def _because(one: Ending) -> str:
    return f": {'; '.join(one.because)}" if one.because else ""


def _passed(trails: Iterable[Trail], number: int) -> str:
    """`all 32 pass node2; `: the host that all pass, and none of them begins at."""
    paths = [({one.host for one in trail.sightings}, trail.question.source) for trail in trails]
    if number < 2 or not paths:
        return ""
    common = set.intersection(*(path for path, _ in paths)) - {SWITCH} - {source for _, source in paths}
    return f"all {number} pass {few(sorted(common))}; " if common else ""


def few(names: Sequence[str], most: int = 3) -> str:
    """`a, b and c`, or `a, b, c and 4 more`."""
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))
