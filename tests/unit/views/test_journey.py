"""A journey's lines."""

from __future__ import annotations

from ipaddress import IPv4Address

from nslab.probes.probe import Kind
from nslab.trace.endpoints import TraceTarget
from nslab.trace.hops import Action, End, Hop, Journey
from nslab.trace.observed import Header
from nslab.views import journey as view

POD, SERVER, NODE1, NODE2 = map(IPv4Address, ("10.0.0.1", "10.0.1.1", "192.168.0.1", "192.168.0.2"))
SENT = Header(POD, SERVER, 6, (40000, 8080), 63, 60)
OUTER = Header(NODE1, NODE2, 4, ttl=64, length=80)


def shown(*hops: Hop) -> list[str]:
    journey = Journey("lab", "pod", TraceTarget("server", Kind.TCP, SERVER, 8080), hops, End.DELIVERED)
    return [line for role, line in view.lines(journey) if role == "hop"]


def test_packets_are_in_one_column() -> None:
    lines = shown(
        Hop("pod", Action.SEND, SENT, dev="eth0"),
        Hop("node", Action.SNAT, SENT, before=SENT),
        Hop("node", Action.FORWARD, SENT, dev="cali2f5353dd8c5"),
    )
    assert {line.index("10.0.0.1") - len("from ") * ("SNAT" in line) for line in lines} == {34}


def test_a_tunnels_interface_carries_the_inner_packet() -> None:
    entered, left = shown(
        Hop("node1", Action.ENCAPSULATE, SENT, dev="eth0", outer=OUTER, mtu=1500),
        Hop("node2", Action.DECAPSULATE, SENT, dev="tunl0", outer=OUTER, mtu=1480),
    )
    assert entered.endswith(" in [192.168.0.1 -> 192.168.0.2 ipip]  ttl 63, 80 of 1500 bytes")
    assert left.endswith(" out of [192.168.0.1 -> 192.168.0.2 ipip]  ttl 63, 60 of 1480 bytes")
