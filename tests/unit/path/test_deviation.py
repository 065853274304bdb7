"""Where a journey leaves the way that was predicted."""

from __future__ import annotations

from ipaddress import IPv4Address

from nslab.dataclass import replace
from nslab.probes.probe import Kind
from nslab.trace.deviation import deviation
from nslab.trace.endpoints import TraceTarget
from nslab.trace.hops import Action, End, Hop, Journey
from nslab.trace.observed import Header

POD, WEB, API = map(IPv4Address, ("10.0.0.1", "10.0.0.2", "10.0.0.3"))


def hop(host: str, action: Action, target: IPv4Address = WEB, *, reply: bool = False, **more: str) -> Hop:
    header = Header(POD, target, 6, (40000, 80), 64, 60)
    return Hop(host, action, replace(header, source=target, target=POD) if reply else header, reply, **more)


def journey(*hops: Hop, end: End = End.DELIVERED, chance: float | None = None) -> Journey:
    return Journey("lab", "pod", TraceTarget("web", WEB, 80, Kind.TCP), hops, end, chance=chance)


SENT = hop("pod", Action.SEND, dev="eth0")
TO_WEB, TO_API = (hop("node", Action.DNAT, to) for to in (WEB, API))
BACK = hop("web", Action.SEND, reply=True)


def test_what_was_drawn_is_one_of_what_may_come() -> None:
    lots = [journey(SENT, TO_WEB, BACK, chance=0.5), journey(SENT, TO_API, BACK, chance=0.5)]
    assert deviation(journey(SENT, TO_API, BACK), lots) is None


def test_the_prediction_that_agrees_the_longest_tells() -> None:
    gone_on = hop("node", Action.FORWARD, API, dev="to-api", cause="route API", by="Felix")
    lots = [journey(SENT, TO_WEB, chance=0.5), journey(SENT, TO_API, gone_on, chance=0.5)]
    stopped = hop("node", Action.DROP, API, cause="filter FORWARD", by="not the lab's")
    assert str(deviation(journey(SENT, TO_API, stopped, end=End.DROPPED), lots)) == (
        "the lab's state predicts: node forwards it to to-api (route API) [Felix]; "
        "seen: node drops it (filter FORWARD) [not the lab's]"
    )


def test_who_did_it_is_part_of_it() -> None:
    predicted = journey(SENT, hop("node", Action.DNAT, by="kube-proxy"), chance=1)
    found = deviation(journey(SENT, hop("node", Action.DNAT, by="not the lab's")), [predicted])
    assert str(found) == (
        "the lab's state predicts: node translates its target to 10.0.0.2:80 [kube-proxy]; "
        "seen: node translates its target to 10.0.0.2:80 [not the lab's]"
    )


def test_it_may_end_too_early_or_go_on() -> None:
    lost, whole = journey(SENT, end=End.LOST), journey(SENT, TO_WEB, BACK)
    assert "seen: nothing more" in str(deviation(lost, [replace(whole, chance=1.0)]))
    assert "predicts: nothing more; seen" in str(deviation(whole, [replace(lost, chance=1.0)]))
    reply_lost = journey(SENT, TO_WEB, end=End.LOST)
    assert "predicts of the reply: web sends it" in str(deviation(reply_lost, [replace(whole, chance=1.0)]))


def test_an_error_that_comes_back_is_in_no_prediction() -> None:
    predicted = journey(SENT, TO_WEB, hop("web", Action.RECEIVE), BACK, chance=1)
    refused = journey(SENT, TO_WEB, hop("web", Action.RECEIVE), hop("node", Action.SEND, reply=True), end=End.REFUSED)
    assert deviation(refused, [predicted]) is None


def test_an_error_s_way_is_compared_if_it_was_seen() -> None:
    rejected = (SENT, hop("node", Action.REJECT))
    there = journey(*rejected, hop("node", Action.SEND, reply=True), end=End.REJECTED, chance=1)
    astray = journey(*rejected, hop("node", Action.SEND, reply=True, dev="eth9"), end=End.REJECTED)
    lost = journey(*rejected, hop("other", Action.SEND, reply=True), end=End.REJECTED)
    assert deviation(journey(*rejected, end=End.REJECTED), [there]) is None
    assert deviation(astray, [there]) is None
    assert "predicts of the reply: node sends it" in str(deviation(lost, [there]))


def test_what_is_not_sure_proves_nothing() -> None:
    assert deviation(journey(SENT), [journey(SENT, TO_WEB)]) is None
    assert deviation(journey(SENT), []) is None
