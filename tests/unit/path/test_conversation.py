"""Predicted conversations: the objects that they need, and where one that was followed leaves its way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.objects.names import cali
from nslab.objects.needs import HostFeatures
from nslab.objects.plan import diff
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.probes import Kind, Outcome, Result, survey
from nslab.probes.evidence import Conversation, Sighting, Trail, What, question
from nslab.trace.conversation import MOST, Conversations, lost
from nslab.trace.ending import ending
from nslab.trace.explain import explain

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.base import State
    from nslab.probes import Probe
    from nslab.trace.conversation import Lost

LABS = Path(__file__).parents[3] / "labs"
HOST = HostFeatures(ipip=False, ipip_fallback=False)


def lab(name: str = "calico-two-node") -> Lab:
    return assign_addresses(replace(load(LABS / name / "lab.yaml"), name="x"))


def asked(of: Lab, source: str, target: str) -> Probe:
    return next(probe for probe in survey(of, HOST, [source], [target]).probes if probe.kind is Kind.ICMP)


def passed(probe: Probe, *places: tuple[str, str, bool]) -> Trail:
    """What was seen of a request at some interfaces (host, name, leaving)."""
    seen = (Sighting(at, *place, What.REQUEST, probe.address, probe.address) for at, place in enumerate(places))
    return Trail(question(probe), (*seen,))


def left(of: Lab, probe: Probe, trail: Trail) -> Lost:
    return lost(
        ending(trail, probe.target), trail, Conversations(of.name, compile_lab(of, HOST)).journeys(trail.question)
    )


def test_the_first_predicted_hop_that_was_not_seen() -> None:
    of = lab()
    probe = asked(of, "pod-c", "pod-b")
    sent = ("pod-c", "eth0", True)
    found = left(of, probe, passed(probe))
    assert (found.hop, found.missing and found.missing.host) == (-1, "pod-c")
    found = left(of, probe, passed(probe, sent))
    assert found.missing
    assert (found.hop, found.missing.host, found.missing.dev) == (0, "node2", "tunl0")


def test_the_prediction_is_the_diagnosis_where_nothing_differs() -> None:
    of = lab()
    probe = asked(of, "pod-c", "pod-b")
    known = Conversations(of.name, compile_lab(of, HOST))
    journeys = known.journeys(question(probe))
    found = left(of, probe, passed(probe, ("pod-c", "eth0", True)))
    cause = explain(Result(probe, Outcome.TIMED_OUT), known.needs(journeys), (), {}, found)
    assert cause.sentence == (
        "nothing of the lab differs on the way; the lab's state predicts: node2 "
        "forwards it to tunl0 (route 20.111.156.0/26 via 192.168.59.22 dev tunl0 proto bird onlink) [BIRD]"
    )


def test_pairs_that_end_alike_have_one_cause() -> None:
    of = lab()
    known, causes = Conversations(of.name, compile_lab(of, HOST)), set()
    for source in ("pod-c", "pod-d"):
        probe = asked(of, source, "pod-b")
        seen = passed(probe, (source, "eth0", True), ("node2", "tunl0", True), ("node1", "tunl0", False))
        needs = known.needs(known.journeys(question(probe)))
        causes.add(explain(Result(probe, Outcome.TIMED_OUT), needs, (), {}, left(of, probe, seen)))
    (cause,) = causes
    assert (cause.host, cause.sentence.count("pod-c")) == ("node1", 0)


def broken(state: State) -> State:
    """Without the route that node2 needs, and without the proxy ARP by which the packet came to it."""
    kept = (obj for obj in state if not (isinstance(obj, Route) and obj.ns.endswith("node2") and obj.dev == "tunl0"))
    arp = f"net/ipv4/conf/{cali('default', 'pod-c')}/proxy_arp"
    return tuple(replace(obj, value="0") if isinstance(obj, Sysctl) and obj.path == arp else obj for obj in kept)


def test_of_two_differences_on_one_host_the_one_after_what_was_seen_comes_first() -> None:
    of = lab()
    probe, want = asked(of, "pod-c", "pod-b"), compile_lab(of, HOST)
    known = Conversations(of.name, want)
    needs, plan = known.needs(known.journeys(question(probe))), diff(broken(want), want)
    assert len(plan) == 2
    sent = ("pod-c", "eth0", True)
    for trail, blamed in (
        (passed(probe, sent), "proxy_arp = 0"),
        (passed(probe, sent, ("node2", "cali0", False)), "no route to 20.111.156.0/26"),
    ):
        cause = explain(Result(probe, Outcome.TIMED_OUT), needs, plan, {}, left(of, probe, trail))
        assert blamed in cause.sentence


@pytest.mark.parametrize(
    ("shipped", "kinds"),
    [
        ("services-iptables", ["Jump", "Chain", "Chain", "Chain"]),
        ("services-nftables", ["NftChain", "NftChain", "NftSet", "NftElement", "NftChain", "NftChain"]),
        ("services-ipvs", ["VirtualServer", "RealServer"]),
    ],
)
def test_a_service_needs_what_translates_it_in_each_mode(shipped: str, kinds: list[str]) -> None:
    of = lab(shipped)
    known = Conversations(of.name, compile_lab(of, HOST))
    service = of.services[0]
    assert service.cluster_ip
    journeys = known.journeys(Conversation("box-1", service.cluster_ip, Kind.TCP, service.ports[0].port))
    assert 1 < len(journeys) <= MOST
    every = [need for need in known.needs(journeys) if need.where == "node1"]
    needs = [need.key[0] for need in every if need.obj.by == "kube-proxy"]
    first = needs.index(kinds[0])
    assert needs[first : first + len(kinds)] == kinds
