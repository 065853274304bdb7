"""Hints for the zones of endpoints by the zones' shares of processors (the annotation topology-mode: Auto).

It is what the EndpointSlice controller's topology cache does: a zone gets about as many endpoints as its share, from
other zones, too. If a zone had more than 20 % too much to do, there are no hints.
"""

from __future__ import annotations

import math
from collections import Counter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OVERLOAD = 0.2
"""How much more than its share a zone's endpoints may have to serve."""
HALF = 0.5
"""A zone that lacks, or has too many by, less than half an endpoint stays as it is."""


def zone_hints(zones: Mapping[str, str], shares: Iterable[str]) -> dict[str, str]:
    """The zone that each ready endpoint is for; {} for no hints.

    `zones`: where the endpoints are, "" for unknown. `shares`: the zones of all nodes, one for each: every node counts
    the same.
    """
    wanted = allocations(len(zones), Counter(shares))
    if not wanted or not all(zones.values()):
        return {}
    giving, receiving = _moves(wanted, Counter(zones.values()))
    found = dict(zones)
    for end, zone in zones.items():
        to = min((name for name, number in receiving.items() if number), default="")
        if to and giving[zone]:
            found[end] = to
            giving[zone] -= 1
            receiving[to] -= 1
    return found


def allocations(endpoints: int, nodes: Mapping[str, int]) -> dict[str, float]:
    """How many endpoints each zone should have; {} if there are too few, or one zone alone. `nodes`: of each zone."""
    if not 2 <= len(nodes) <= endpoints:
        return {}
    total = sum(nodes.values())
    desired = {zone: number / total * endpoints for zone, number in nodes.items()}
    least = {zone: math.ceil(number * (1 / (1 + OVERLOAD))) for zone, number in desired.items()}
    if sum(least.values()) > endpoints:
        return {}
    return {zone: max(number, least[zone]) for zone, number in desired.items()}


def _moves(wanted: Mapping[str, float], there: Mapping[str, int]) -> tuple[Counter[str], Counter[str]]:
    """How many endpoints each zone gives to others, and gets from them (getGivingAndReceivingZones)."""
    more = {zone: there.get(zone, 0) - number for zone, number in sorted(wanted.items())}
    surplus = {zone: number for zone, number in more.items() if number > 0}
    lack = {zone: -number for zone, number in more.items() if number < 0}
    giving, receiving = Counter[str](), Counter[str]()
    while surplus and lack:
        giver, receiver = max(surplus, key=surplus.__getitem__), max(lack, key=lack.__getitem__)
        numbers = surplus[giver], lack[receiver]
        if min(numbers) < HALF or max(numbers) < 1:
            break
        giving[giver] += 1
        receiving[receiver] += 1
        surplus[giver] -= 1
        lack[receiver] -= 1
    return giving, receiving
