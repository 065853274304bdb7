"""Conversations predicted through a lab's desired State, and where one that was followed left its way (pure)."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.objects.names import netns
from nslab.probes.evidence import What
from nslab.trace.authors import Authors
from nslab.trace.endpoints import TraceTarget
from nslab.trace.hops import Action
from nslab.trace.lab_prediction import LabPredictor
from nslab.trace.needs import LEAVING, needed
from nslab.trace.topology import topology

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.objects.base import State
    from nslab.objects.keys import Key
    from nslab.probes.evidence import Conversation, Sighting, Trail
    from nslab.trace.ending import Ending
    from nslab.trace.hops import Hop
    from nslab.trace.needs import Need
    from nslab.trace.predict import Predicted

MOST = 32
"""Of how many ways that a Service's rules may choose an explanation takes account."""
_ARRIVED = (Action.RECEIVE, Action.DECAPSULATE)


@dataclass(frozen=True, slots=True)
class Lost:
    """Where a conversation ended. `missing`: the first predicted hop that was not seen; None if all were.

    `hop`: the number of the first hop in doubt: the last that was seen (-1: none), or, where the packet came in at the
    next host, that host's.
    """

    end: Ending
    hop: int = -1
    missing: Hop | None = None


class Conversations:
    """Predicts for one lab; reads each host's rules once."""

    def __init__(self, lab: str, state: State) -> None:
        self._lab, self._net = lab, topology(state)
        self._predictor = LabPredictor(lab, self._net, Authors(lab, state))

    def journeys(self, question: Conversation) -> list[Predicted]:
        """The ways that a conversation may take."""
        target = TraceTarget(str(question.address), question.kind, question.address, question.port)
        return [*islice(self._predictor.each(netns(self._lab, question.source), target, errors=False), MOST)]

    def needs(self, journeys: Sequence[Predicted], server: int = 0) -> tuple[Need, ...]:
        """What the journeys need, each object once in a direction. `server`: see `needed`."""
        met: dict[tuple[Key, bool], Need] = {}
        for journey in journeys:
            for need in needed(self._lab, journey.hops, self._net, server):
                met.setdefault((need.key, need.reply), need)
        return tuple(met.values())


def lost(end: Ending, trail: Trail, journeys: Sequence[Predicted]) -> Lost:
    """Where a conversation leaves its way: of several, the one on which it was seen longest."""
    seen = [(_last_seen(journey.hops, trail), journey.hops) for journey in journeys]
    last, hops = max(seen, key=lambda one: one[0], default=(-1, ()))
    missing = hops[last + 1] if last + 1 < len(hops) else None
    return Lost(end, last + (missing is not None and _came_to(missing, trail)), missing)


def _came_to(hop: Hop, trail: Trail) -> bool:
    """Whether the packet came in at a hop's host."""
    what = What.REPLY if hop.reply else What.REQUEST
    return any(one.host == hop.host and not one.leaving and not one.astray for one in trail.of(what))


def _last_seen(hops: Sequence[Hop], trail: Trail) -> int:
    sightings = trail.of(What.REQUEST, What.REPLY)
    return max((number for number, hop in enumerate(hops) if any(_shows(one, hop) for one in sightings)), default=-1)


def _shows(one: Sighting, hop: Hop) -> bool:
    """Whether a packet was seen at the interface where a hop leaves it."""
    if hop.action not in (*LEAVING, *_ARRIVED) or one.astray:
        return False
    place = one.host, one.dev, one.leaving, one.what is What.REPLY
    return place == (hop.host, hop.dev, hop.action in LEAVING, hop.reply)
