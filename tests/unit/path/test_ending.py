"""Where a followed conversation ends, and how that is told."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.linux.prober.follow import unanswered
from nslab.linux.taps import ETH_P_ARP, OUTGOING, Frame
from nslab.objects.needs import HostFeatures
from nslab.probes import Kind, survey
from nslab.probes.evidence import Conversation, Count, Sighting, Trail, Unanswered, What, question
from nslab.trace.captured import captured
from nslab.trace.conversation import Conversations
from nslab.trace.ending import described, ending, few
from nslab.wire import dns_client, packets

if TYPE_CHECKING:
    from pathlib import Path

A, B, SERVICE = map(IPv4Address, ("10.0.0.1", "10.0.0.2", "10.96.0.1"))
ASKED = Conversation("a", B, Kind.TCP, 80)


def at(host: str, dev: str, *, leaving: bool = False, what: What = What.REQUEST, astray: bool = False) -> Sighting:
    return Sighting(0, host, dev, leaving, what, A, B, astray, port=8080)


GONE = (at("a", "eth0", leaving=True), at("n1", "cali1"))


def told(*sightings: Sighting, **known: object) -> str:
    return described([ending(Trail(ASKED, sightings, **known), "b")])  # type: ignore[arg-type]


def test_where_it_was_last_seen() -> None:
    assert told() == "a sends nothing"
    assert told(*GONE) == "last seen coming in at n1's cali1, never leaving n1"
    assert told(*GONE, at("n1", "eth0", leaving=True)) == "last seen leaving n1's eth0, and nowhere after that"
    assert told(*GONE, at("b", "eth0")) == "it comes in at b's eth0, and b does not answer"
    assert told(*GONE, at("b", "eth0"), at("n2", "cali2", what=What.REPLY)) == (
        "the answer was last seen coming in at n2's cali2, never leaving n2"
    )
    assert told(*GONE, at("a", "eth0", what=What.REPLY)) == "repeated, it is answered"


def test_flooded_copies_tell_nothing() -> None:
    assert told(*GONE, at("c", "eth0", astray=True), at("switch", "n1")) == told(*GONE)
    left = (*GONE, at("n1", "eth0", leaving=True))
    by_switch = (at("switch", "n1"), at("switch", "c", leaving=True))
    assert told(*left, *by_switch, at("c", "eth0", astray=True)) == told(*left)
    assert told(*left, *by_switch).startswith("last seen leaving switch's c,")
    assert told(*GONE, at("b", "eth0", astray=True)).endswith("its link-layer address is not that of b's eth0")


def test_what_a_bridge_floods_is_no_request_of_its_host() -> None:
    question = b"\0\1\x08\0\6\4\0\1" + bytes(6) + A.packed + bytes(6) + B.packed
    pods = Frame(1, "n1", "veth1", ETH_P_ARP, 0, question), Frame(2, "n1", "veth2", ETH_P_ARP, OUTGOING, question)
    own = Frame(3, "n2", "eth0", ETH_P_ARP, OUTGOING, question)
    assert [*unanswered([*pods, own])] == [Unanswered("n2", "eth0", B)]


def test_what_was_counted_where_it_ends() -> None:
    drop, elsewhere = Count("n1", "rule -A FORWARD -j DROP", rule=True), Count("n2", "rule -A X -j DROP", rule=True)
    assert told(*GONE, counts=(drop, elsewhere)).endswith("n1: meanwhile its rule -A FORWARD -j DROP counted packets")
    left, switchs = (*GONE, at("n1", "eth0", leaving=True)), (Count("switch", "rule -A X -j DROP", rule=True), drop)
    assert told(*left, at("switch", "n1"), counts=switchs) == (
        "last seen leaving n1's eth0, and nowhere after that: meanwhile switch's rule -A X -j DROP counted packets"
    )
    assert told(*left, counts=switchs).endswith("nowhere after that"), "the switch has not seen it"
    asked = (Unanswered("n1", "eth0", B), Unanswered("n2", "eth0", A))
    assert told(*GONE, unanswered=asked).endswith("n1: nobody answers its ARP requests for 10.0.0.2 on eth0")


def test_who_refuses() -> None:
    reset = at("b", "eth0", leaving=True, what=What.RESET)
    end = ending(Trail(ASKED, (*GONE, at("b", "eth0"), reset)), "b")
    assert (end.host, end.refused, end.port) == ("b", True, 8080)
    rule = Trail(ASKED, (*GONE, at("n1", "cali1", leaving=True, what=What.RESET)), (Count("n1", "rule x", rule=True),))
    assert not ending(rule, "b").refused


def test_a_server_that_accepts_and_hangs_has_not_answered() -> None:
    asked = Conversation("a", B, Kind.TCP, 80, asks=True)
    trail = Trail(asked, (*GONE, at("a", "eth0", what=What.REPLY)))
    assert (trail.answered, ending(trail, "b").mute) == (False, True)


def test_what_several_share_is_told_once() -> None:
    trails = [Trail(ASKED, (*GONE[:1], at("n1", dev))) for dev in ("cali1", "cali2", "cali3")]
    assert described([ending(one, "b") for one in trails], trails) == (
        "all 3 pass n1; last seen coming in at n1's cali1, cali2 and cali3, never leaving n1"
    )
    assert described([ending(trails[0], "b"), ending(trails[1], "b"), ending(Trail(ASKED), "b")]) == (
        "2 of 3: last seen coming in at n1's cali1 and cali2, never leaving n1"
    )


def test_lists() -> None:
    assert [few("abc"[:number]) for number in (1, 2, 3)] == ["a", "a and b", "a, b and c"]
    assert few("abcdef") == "a, b, c and 3 more"


def ip(protocol: int, body: bytes) -> bytes:
    return bytes([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0]) + A.packed + B.packed + body


def test_packets_are_taken_out_of_tunnels() -> None:
    datagram = b"\x04\xd2\x00\x35\0\0\0\0" + dns_client.query(1, "x")
    plain = packets.decode(ip(packets.UDP, datagram))
    assert plain
    assert (plain.ports, plain.payload, plain.tunnelled) == ((1234, 53), dns_client.query(1, "x"), False)
    wrapped = packets.decode(ip(packets.IPIP, ip(packets.UDP, datagram)))
    vxlan = packets.decode(ip(packets.UDP, b"\0\1\x12\xb5\0\0\0\0" + bytes(22) + ip(packets.UDP, datagram)))
    assert wrapped
    assert vxlan
    assert wrapped.outer
    assert vxlan.outer
    assert replace(wrapped, outer=None) == replace(vxlan, outer=None) == plain
    assert (wrapped.outer.protocol, vxlan.outer.protocol, vxlan.outer.ports) == (packets.IPIP, packets.UDP, (1, 4789))
    assert (wrapped.outer.ttl, wrapped.ttl) == (64, 64)
    error = packets.decode(ip(packets.ICMP, b"\3\3\0\0\0\0\0\0" + ip(packets.UDP, datagram)))
    assert error
    assert (error.code, error.quoted) == ((3, 3), plain)
    assert packets.decode(b"\x60" + bytes(40)) is None
    assert packets.decode(b"") is None


IPVS = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: x}
spec:
  cni: {plugin: calico, encapsulation: VXLAN}
  proxy: {mode: ipvs}
  nodes: [{name: node1}, {name: node2}]
---
apiVersion: v1
kind: Pod
metadata: {name: b, labels: {app: x}}
spec: {nodeName: node2, containers: [{name: c, image: agnhost, args: [netexec], ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: exn}
spec: {clusterIP: 10.96.1.3, externalIPs: [192.168.59.22], selector: {app: x}, ports: [{port: 8000, targetPort: 8080}]}
"""


def test_a_node_s_address_that_ipvs_takes_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(IPVS)
    of = assign_addresses(load(file))
    host = HostFeatures(ipip=False)
    predicted = Conversations(of.name, compile_lab(of, host))
    needs = {one.pair: predicted.needs(predicted.journeys(question(one))) for one in survey(of, host).probes}
    cause = captured(of, needs["b", "node1"])
    assert cause
    assert cause.sentence == (
        "192.168.59.22 is node1's address and an external IP of default/exn, and node2 has it on kube-ipvs0 "
        "(kube-proxy's): nothing of node2 reaches node1"
    )
    assert captured(of, needs["b", "node2"]) is None
