"""`trace --predict` in ipvs mode: IPVS takes a Service's packet at INPUT or OUTPUT, and sends it to a real server."""

from __future__ import annotations

import pytest

from nslab.app.predict import predict
from nslab.trace.hops import Action, End


@pytest.mark.parametrize(
    ("sender", "to", "masqueraded"),
    [("box-1", "web", False), ("client", "node1:31080", True), ("node1", "web", True)],
)
def test_each_real_server_has_its_share(sender: str, to: str, masqueraded: bool) -> None:
    journeys = predict("services-ipvs", sender, to)
    assert [journey.chance for journey in journeys] == [0.25] * 4
    servers = set()
    for journey in journeys:
        assert journey.end is End.DELIVERED
        (translated,) = (hop for hop in journey.hops if hop.action is Action.DNAT)
        assert (translated.host, translated.by) == ("node1", "IPVS")
        servers.add(translated.header.receiver)
        assert bool(journey.count(Action.SNAT)) is masqueraded
        assert journey.count(Action.REVERSE_DNAT, reply=True) == 1
    assert len(servers) == 4


def test_a_service_without_endpoints_is_refused() -> None:
    (journey,) = predict("services-ipvs", "box-1", "nobody")
    assert (journey.end, journey.why) == (End.REFUSED, "node1's IPVS has no real server for 10.103.9.118:80")
