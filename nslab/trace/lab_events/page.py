"""The page of `top`: what interfaces pass in a second, what endpoints of Services got, the last events (pure)."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass
from nslab.trace.lab_events.values import EventAction, EventKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nslab.trace.lab_events.objects import ObjectsSeen
    from nslab.trace.lab_events.values import LabEvent

_KEPT = 200
"""How many events are kept."""


class LinkRate(NamedTuple):
    """Packets and bytes in a second, received and sent."""

    host: str
    dev: str
    packets_in: float
    packets_out: float
    bytes_in: float
    bytes_out: float


class EndpointHits(NamedTuple):
    """The connections that an endpoint of a Service's port got since the page began. `pod`: NAMESPACE/NAME or ""."""

    service: str
    address: str
    pod: str
    hits: int


@dataclass(frozen=True, slots=True)
class TopPage:
    """One picture. `at`, `since`: nanoseconds since 1970; `connections`: what conntrack has, by host."""

    lab: str
    at: int
    since: int
    links: Sequence[LinkRate]
    endpoints: Sequence[EndpointHits]
    connections: Mapping[str, int]
    events: Sequence[LabEvent]
    overruns: int = 0


class TopCounts:
    """Counts what has happened since it began."""

    def __init__(self) -> None:
        self.events: deque[LabEvent] = deque(maxlen=_KEPT)
        self._hits: Counter[tuple[str, str]] = Counter()

    def add(self, events: Iterable[LabEvent]) -> None:
        """More events. A connection counts on the host that chooses its endpoint."""
        for event in events:
            self.events.append(event)
            new = event.kind is EventKind.CONNECTION and event.action is EventAction.NEW
            if new and "service" in event.facts and "dnat" in event.facts:
                self._hits[event.facts["service"], event.facts["dnat"]] += 1

    def endpoints(self, objects: ObjectsSeen) -> list[EndpointHits]:
        """The hits of all endpoints that there are, and of those that are gone."""
        keys = sorted({*objects.endpoints, *self._hits})
        pods = {key: end.pod for key, end in objects.endpoints.items()}
        return [EndpointHits(*key, pods.get(key, ""), self._hits[key]) for key in keys]


def rates(
    before: Mapping[tuple[str, str], Sequence[int]], after: Mapping[tuple[str, str], Sequence[int]], seconds: float
) -> list[LinkRate]:
    """The rates between two counts (packets in and out, bytes in and out) by host and interface, the busiest first.

    An interface that is new, or made again, begins now.
    """
    found = []
    for (host, dev), counts in after.items():
        old = before.get((host, dev), counts)
        grown = [max(0, new - known) / seconds for new, known in zip(counts, old, strict=True)]
        found.append(LinkRate(host, dev, *grown))
    return sorted(found, key=lambda rate: (-(rate.packets_in + rate.packets_out), rate.host, rate.dev))
