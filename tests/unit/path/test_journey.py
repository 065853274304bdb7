"""A packet's journey, of what was seen of it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Network

import pytest

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.lab.find import find
from nslab.linux.tracing.rule_texts import nft_texts
from nslab.probes.evidence import Conversation, Count, What
from nslab.probes.probe import Kind
from nslab.trace.authors import BY_HAND, Authors
from nslab.trace.chances import chances
from nslab.trace.endpoints import TraceTarget, names_to_ask, sized, source, target
from nslab.trace.hops import BLACKHOLE, RP_FILTER, TTL_OVER, Accepted, Action, End
from nslab.trace.journey import hops
from nslab.trace.known import Known
from nslab.trace.observed import Crossing, Header, Match, Passing, RouteTaken, Visit, WatchedPacket
from nslab.trace.outcome import end_of, why
from nslab.trace.stations import asked, stations, translated
from nslab.trace.translations import path
from nslab.wire import nftables
from nslab.wire.netlink import attributes, messages

POD, SERVICE, SERVER = map(IPv4Address, ("10.0.0.1", "10.96.0.1", "10.0.1.1"))
SENT = Header(POD, SERVICE, 6, (40000, 80), 64, 60)
DONE = Header(POD, SERVER, 6, (40000, 8080), 63, 60)
ASKED = Conversation("pod", SERVICE, Kind.TCP, 80)
DNAT = Match("nat", "KUBE-SEP-A", "accept", rule="-p tcp -j DNAT --to-destination 10.0.1.1:8080")
NAT = Visit(
    "nat", "PREROUTING", 0, -100, SENT, 0,
    (
        Match("nat", "PREROUTING", "jump", "KUBE-SERVICES"),
        Match("nat", "KUBE-SERVICES", "jump", "KUBE-SVC-A"),
        Match("nat", "KUBE-SVC-A", "jump", "KUBE-MARK-MASQ"),
        Match("nat", "KUBE-MARK-MASQ", "continue"),
        Match("nat", "KUBE-SVC-A", "jump", "KUBE-SEP-A"),
        Match("nat", "KUBE-SEP-A", "jump", "KUBE-MARK-MASQ"),
        Match("nat", "KUBE-MARK-MASQ", "continue"),
        DNAT,
    ),
    "accept",
)  # fmt: skip


def seen(at: int, host: str, dev: str, way: str, header: Header, what: What = What.REQUEST, **more: object) -> Passing:
    return Passing(at, host, dev, way == "out", what, header, **more)  # type: ignore[arg-type]


FORTH = [
    seen(1, "pod", "eth0", "out", SENT),
    seen(2, "node", "cali1", "in", SENT),
    seen(3, "node", "cali2", "out", DONE),
    seen(4, "server", "eth0", "in", DONE),
]
CROSSED = Crossing("node", What.REQUEST, False, "cali1", "cali2", SENT, 0, (NAT,))
LOCAL = RouteTaken("local", IPv4Network("10.0.1.1/32"), dev="eth0", protocol="kernel")


def known(*of: object, last: RouteTaken = LOCAL) -> Known:
    every = {asked(one): RouteTaken("unicast", IPv4Network("0.0.0.0/0"), dev="x") for one in of}  # type: ignore[arg-type]
    if of:
        every[asked(of[-1])] = last  # type: ignore[arg-type]
    return Known("lab", every, {("node", "cali2"): 1450}, Authors("lab", ()))


def test_a_second_packet_right_behind_the_first_one_is_no_host_of_its_own() -> None:
    first = Crossing("node", What.REPLY, False, "", "cali1", SENT, 0)
    behind = replace(first, header=replace(SENT, length=52))
    found = stations([seen(1, "node", "cali1", "out", SENT, What.REPLY)], [first, behind], What.REPLY)
    assert [(one.host, one.crossing) for one in found] == [("node", first)]


def test_hosts_one_after_the_other() -> None:
    found = stations(FORTH, [CROSSED], What.REQUEST)
    assert [(one.host, one.iif, one.oif) for one in found] == [
        ("pod", "", "eth0"), ("node", "cali1", "cali2"), ("server", "eth0", "")
    ]  # fmt: skip
    made = [*hops(found, known(*found))]
    assert [(hop.host, hop.action) for hop in made] == [
        ("pod", Action.SEND), ("node", Action.DNAT), ("node", Action.FORWARD), ("server", Action.RECEIVE)
    ]  # fmt: skip
    changed, forwarded = made[1:3]
    assert (changed.before, changed.header.receiver, changed.matches[-1]) == (SENT, "10.0.1.1:8080", DNAT)
    assert (forwarded.mtu, forwarded.header.ttl, changed.by) == (1450, 63, BY_HAND)


def test_chains_that_accept_are_the_hop_s_on_which_the_host_sends_it_on() -> None:
    marks = Match("filter", "cali-pi-web", "continue", rule="-p tcp -j MARK --set-xmark 0x10000/0x10000", comment="web")
    accepts = Match("filter", "FORWARD", "accept", rule="-m mark --mark 0x10000/0x10000 -j ACCEPT", comment="Accepted.")
    filters = Visit("filter", "FORWARD", 2, 0, DONE, 0, (marks, accepts), "accept")
    by_policy = Visit("mangle", "POSTROUTING", 4, -150, DONE, 0, (), "accept", policy=True)
    found = stations(FORTH, [replace(CROSSED, visits=(NAT, filters, by_policy))], What.REQUEST)
    made = [*hops(found, known(*found))]
    assert [(hop.action.value, [one.visit for one in hop.accepted]) for hop in made] == [
        ("send", []), ("DNAT", []), ("forward", [filters, by_policy]), ("receive", [])
    ]  # fmt: skip
    assert [(one.rule, one.marked) for one in made[2].accepted] == [(accepts, marks), (None, None)]


@pytest.mark.parametrize("bit", ["0x00010000", "0x10000"])
def test_a_rule_of_nft_is_named_that_set_the_mark_for_which_the_last_asks(bit: str) -> None:
    """As nft lists them: 1.0.6 with all digits, later ones without."""
    marks = Match("calico", "filter-cali-pi-web", "continue", rule=f"counter meta mark set meta mark | {bit}")
    more = replace(marks, rule=f"{marks.rule}0")
    clear = replace(marks, rule=f"meta mark & {bit} == 0x00000000 counter return")
    accepts = replace(marks, chain="filter-FORWARD", rule=f"meta mark & {bit} == {bit} counter accept")
    visit = Visit("calico", "filter-FORWARD", 2, 0, DONE, 0, (marks, more, clear, accepts), "accept")
    assert Accepted(visit).marked == marks
    assert Accepted(replace(visit, matches=(marks, clear))).marked is None


@pytest.mark.parametrize("place", [("mangle", "POSTROUTING"), ("calico", "mangle-POSTROUTING")])
def test_no_chain_without_nat_did_what_conntrack_undoes_behind_it(place: tuple[str, str]) -> None:
    back, home = Header(SERVER, POD, 6, (8080, 40000), 64, 60), Header(SERVICE, POD, 6, (80, 40000), 63, 60)
    passed = [
        seen(1, "node", "cali2", "in", back, What.REPLY),
        seen(2, "node", "cali1", "out", home, What.REPLY),
    ]
    table, chain = place
    rule = Match(table, f"{chain}-rules", "continue", rule="ct status dnat counter")
    visit = Visit(table, chain, 4, -150, replace(back, ttl=63), 0, (rule,), "accept", policy=True)
    crossing = Crossing("node", What.REPLY, False, "cali2", "cali1", back, 0, (visit,))
    found = stations(passed, [crossing], What.REPLY)
    (undone,) = [hop for hop in hops(found, known(*found)) if hop.before]
    assert (undone.action, undone.by) == (Action.REVERSE_DNAT, "kernel")


def test_a_chain_that_drops_what_a_bridge_forwards_is_named() -> None:
    dropped = Visit("filter", "FORWARD", 2, 0, SENT, 0, (Match("filter", "FORWARD", "drop", rule="-j DROP"),), "drop")
    crossed = Crossing("node", What.REQUEST, False, "cbr0", "cbr0", SENT, 0, (dropped,))
    passed = [FORTH[0], seen(2, "node", "veth1", "in", SENT, astray=True)]
    assert len(stations(passed, [replace(crossed, visits=())], What.REQUEST)) == 1  # a copy, flooded to all ports
    found = stations(passed, [crossed], What.REQUEST)
    assert [(hop.host, hop.action.value) for hop in hops(found, known(*found))] == [("pod", "send"), ("node", "drop")]


def test_a_size_is_for_what_can_have_it() -> None:
    datagram = TraceTarget("b", Kind.UDP, SERVER, 9)
    assert sized(datagram, 1500).size == 1500
    assert sized(replace(datagram, kind=Kind.TCP), 0).size == 0
    for wrong, size in (
        (replace(datagram, kind=Kind.TCP), 60), (replace(datagram, port=53), 60), (datagram, 48), (datagram, 1 << 16)
    ):  # fmt: skip
        with pytest.raises(UsageError, match="--size"):
            sized(wrong, size)


def test_routing_is_asked_with_the_new_target_and_the_old_source() -> None:
    masqueraded = Header(IPv4Address("192.168.0.1"), SERVER, 6, (5, 8080), 63, 60)
    passed = [*FORTH[:2], seen(3, "node", "cali2", "out", masqueraded)]
    question = asked(stations(passed, [CROSSED], What.REQUEST)[1])
    assert (question.header.source, question.header.target, question.iif) == (POD, SERVER, "cali1")
    assert question.header.ports == (40000, 8080)


def test_a_replys_nat_is_conntracks() -> None:
    back, home = Header(SERVER, POD, 6, (8080, 40000), 64, 60), Header(SERVICE, POD, 6, (80, 40000), 63, 60)
    passed = [
        seen(1, "server", "eth0", "out", back, What.REPLY),
        seen(2, "node", "cali2", "in", back, What.REPLY),
        seen(3, "node", "cali1", "out", home, What.REPLY),
        seen(4, "pod", "eth0", "in", home, What.REPLY),
    ]
    found = stations(passed, [], What.REPLY)
    made = [*hops(found, known(*found))]
    assert [hop.action.value for hop in made] == ["send", "forward", "reverse DNAT", "receive"]
    assert made[2].cause == "conntrack; no rule does this"
    assert all(hop.reply for hop in made)


def test_conntrack_lists_a_connection_by_its_client() -> None:
    node = IPv4Address("192.168.0.1")
    back, home = Header(SERVER, node, 6, (8080, 5), 64, 60), Header(SERVICE, POD, 6, (80, 40000), 63, 60)
    answer = [
        seen(1, "node", "cali2", "in", back, What.REPLY),
        seen(2, "node", "cali1", "out", home, What.REPLY),
    ]
    for passed, what in ((answer, What.REPLY), (FORTH[1:3], What.REQUEST)):
        found = stations(passed, [], what)
        changes = [hop for hop in hops(found, known(*found)) if hop.before]
        assert {hop.command for hop in changes} == {f"ip netns exec nslab.lab.node conntrack -L -s {POD}"}


def test_a_reply_that_its_receiver_drops_is_not_delivered() -> None:
    home = Header(SERVICE, POD, 6, (80, 40000), 63, 60)
    passed = seen(9, "pod", "eth0", "in", home, What.REPLY)
    dropped = Visit("filter", "INPUT", 1, 0, home, 0, (Match("filter", "INPUT", "drop", rule="-j DROP"),), "drop")
    crossing = Crossing("pod", What.REPLY, False, "eth0", "", home, 0, (dropped,))
    found = stations([passed], [crossing], What.REPLY)
    made = [*hops(found, known(*found))]
    watched = WatchedPacket(ASKED, (*FORTH, passed), (crossing,))
    assert end_of(watched, made) is End.DROPPED
    assert why(watched, made, "server") == f"pod drops the reply by filter INPUT: -j DROP ({BY_HAND})"


def test_a_policy_has_no_rule() -> None:
    passed = Match("filter", "FORWARD", "continue", rule="-j KUBE-FORWARD", comment="kubernetes forwarding rules")
    dropped = Visit("filter", "FORWARD", 2, 0, SENT, 0, (passed,), "drop", policy=True)
    crossing = Crossing("node", What.REQUEST, False, "cali1", "cali2", SENT, 0, (dropped,))
    found = stations(FORTH[:2], [crossing], What.REQUEST)
    last = [*hops(found, known(*found))][-1]
    assert (last.action, last.cause, last.matches) == (Action.DROP, "policy DROP of chain FORWARD (table filter)", ())


def test_a_tunnel_is_left_where_it_was_entered() -> None:
    outer = Header(IPv4Address("192.168.0.1"), IPv4Address("192.168.0.2"), 4, ttl=64, length=80)
    passed = [
        seen(1, "n1", "tunl0", "out", SENT),
        seen(2, "n1", "eth0", "out", SENT, outer=outer),
        seen(3, "n2", "eth0", "in", SENT, outer=outer),
        seen(4, "n2", "tunl0", "in", SENT),
        seen(5, "n2", "cali1", "out", SENT),
    ]
    found = stations(passed, [], What.REQUEST)
    made = [*hops(found, known(*found))]
    assert [hop.action.value for hop in made[:3]] == ["send", "encapsulate", "decapsulate"]
    assert made[1].outer == outer


def test_a_host_that_sends_it_back_takes_it_out_and_puts_it_in_again() -> None:
    first, second = IPv4Address("192.168.0.1"), IPv4Address("192.168.0.2")
    there, back = Header(first, second, 4, ttl=63, length=80), Header(second, first, 4, ttl=62, length=80)
    once_more = Header(POD, SERVER, 6, (40000, 8080), 62, 60)
    passed = [
        seen(1, "n2", "eth0", "in", DONE, outer=there),
        seen(2, "n2", "tunl0", "in", DONE),
        seen(3, "n2", "tunl0", "out", once_more),
        seen(4, "n2", "eth0", "out", once_more, outer=back),
    ]
    found = stations(passed, [], What.REQUEST)
    assert [(one.tunnelled, one.iif, one.oif) for one in found] == [
        (True, "eth0", ""), (False, "tunl0", "tunl0"), (True, "", "eth0")
    ]  # fmt: skip
    assert [hop.action.value for hop in hops(found, known(*found))] == ["decapsulate", "forward", "encapsulate"]


def test_what_a_bridge_floods_is_nobodys() -> None:
    copy = seen(2, "other", "eth0", "in", SENT, astray=True)
    assert [one.host for one in stations([FORTH[0], copy], [], What.REQUEST)] == ["pod"]
    port = seen(2, "switch", "port1", "in", SENT, astray=True)
    on = seen(3, "switch", "port2", "out", SENT)
    found = stations([FORTH[0], port, on], [], What.REQUEST)
    assert [(one.host, one.bridged) for one in found] == [("pod", False), ("switch", True)]


def test_what_its_own_host_drops_is_seen_in_the_rules_alone() -> None:
    dropped = Visit("filter", "OUTPUT", 3, 0, SENT, 0, (Match("filter", "OUTPUT", "drop", rule="-j DROP"),), "drop")
    crossing = Crossing("pod", What.REQUEST, False, "", "eth0", SENT, 0, (dropped,))
    found = stations([], [crossing, crossing], What.REQUEST)
    made = [*hops(found, known(*found))]
    assert [hop.action for hop in made] == [Action.SEND, Action.DROP]
    watched = WatchedPacket(ASKED, (), (crossing,))
    assert end_of(watched, made) is End.DROPPED
    assert why(watched, made, "server") == f"pod drops it by filter OUTPUT: -j DROP ({BY_HAND})"


def test_the_last_rules_text_tells_where_a_lost_packet_was_going() -> None:
    assert translated(NAT, SENT).receiver == "10.0.1.1:8080"
    found = stations(FORTH[:2], [CROSSED], What.REQUEST)
    made = [*hops(found, known(*found, last=RouteTaken(error="a blackhole route drops it")))]
    assert [hop.action for hop in made] == [Action.SEND, Action.DNAT, Action.LOST]
    watched = WatchedPacket(ASKED, tuple(FORTH[:2]), (CROSSED,))
    assert (end_of(watched, made), why(watched, made, "server")) == (
        End.LOST, "node does not pass it on: a blackhole route drops it"
    )  # fmt: skip
    counted = WatchedPacket(ASKED, tuple(FORTH[:2]), (CROSSED,), counts=(Count("node", "TcpExt.IPReversePathFilter"),))
    assert "rp_filter dropped" in why(counted, made, "server")


def test_where_rp_filter_counted_the_kernels_error_means_no_blackhole() -> None:
    found = stations(FORTH[:2], [CROSSED], What.REQUEST)
    explained = replace(known(*found, last=RouteTaken(error=BLACKHOLE)), filtering=("node",))
    assert [hop.cause for hop in hops(found, explained)][-1] == RP_FILTER
    elsewhere = replace(explained, filtering=("server",))
    assert [hop.cause for hop in hops(found, elsewhere)][-1] == BLACKHOLE


@pytest.mark.parametrize(
    ("what", "code", "end"),
    [
        (What.REPLY, (0, 0), End.DELIVERED),
        (What.RESET, (0, 0), End.REFUSED),
        (What.ERROR, (3, 3), End.REFUSED),
        (What.ERROR, (3, 1), End.UNREACHABLE),
        (What.ERROR, (11, 0), End.UNREACHABLE),
    ],
)
def test_ends_are_told_apart(what: What, code: tuple[int, int], end: End) -> None:
    answer = seen(9, "pod", "eth0", "in", SENT, what, code=code)
    assert end_of(WatchedPacket(ASKED, (*FORTH, answer), ()), []) is end
    assert end_of(WatchedPacket(ASKED, (), (), error="Network is unreachable"), []) is End.UNREACHABLE
    assert end_of(WatchedPacket(ASKED, tuple(FORTH), ()), []) is End.LOST


def test_what_nothing_explains_is_not_laid_at_the_routes_door() -> None:
    for ttl, says in ((64, "no rule that the kernel traces drops it; route default dev x"), (1, "its TTL is over")):
        sent = Header(POD, SERVER, 6, (40000, 8080), ttl, 60)
        found = stations([seen(1, "node", "cali1", "in", sent)], [], What.REQUEST)
        [lost] = hops(found, known(found[0], last=RouteTaken("unicast", IPv4Network("0.0.0.0/0"), dev="x")))
        assert (lost.action, lost.cause) == (Action.LOST, says)


def test_a_ttl_that_a_rule_sets_to_one() -> None:
    sent = Header(POD, SERVER, 6, (40000, 8080), 64, 60)
    rule = Match("mangle", "PREROUTING", "continue", rule="-p tcp -j TTL --ttl-set 1")
    visits = [
        (Visit("mangle", "PREROUTING", 0, -150, sent, 0, (rule,), "accept", policy=True),),
        (Visit("nat", "PREROUTING", 0, -100, replace(sent, ttl=1), 0, (), "accept", policy=True),),
        (Visit("filter", "FORWARD", 2, 0, replace(sent, ttl=1), 0, (), "accept", policy=True),),
    ]
    for visited, over in zip(visits, (True, True, False), strict=True):
        crossing = Crossing("node", What.REQUEST, False, "cali1", "", sent, 0, visited)
        found = stations([seen(1, "node", "cali1", "in", sent)], [crossing], What.REQUEST)
        *_, lost = hops(found, known(found[0], last=RouteTaken("unicast", IPv4Network("0.0.0.0/0"), dev="x")))
        assert (lost.action, lost.cause == TTL_OVER) == (Action.LOST, over)


def test_the_chains_to_the_rule() -> None:
    assert path(NAT.table, NAT.chain, NAT.matches) == "nat PREROUTING > KUBE-SERVICES > KUBE-SVC-A > KUBE-SEP-A"


def test_lots() -> None:
    draw = "-m statistic --mode random --probability"
    thirds = chances(
        [(1, "-j MARK"), (2, f"{draw} 0.33333333349 -j A"), (3, f"{draw} 0.5 -j B"), (4, "-j C"), (5, "-j D")]
    )
    assert {number: round(chance, 3) for number, chance in thirds.items()} == {2: 0.333, 3: 0.333, 4: 0.333}
    assert chances([(7, "numgen random mod 4 vmap { 0 : goto a }")]) == {7: 0.25}
    assert chances([(1, "-j A"), (2, "-j B")]) == {}


def test_a_table_of_our_own_looks_for_the_signs() -> None:
    needle = nftables.Needle(nftables.TRANSPORT, 4, b"\xde\xad\xbe\xef")
    batch = [one for raw in nftables.tracing("nslab-trace-7", [needle]) for one in messages(raw)]
    kinds = [kind & 0xFF for kind, _, _ in batch]
    assert kinds == [0x10, 0, *[3, 6] * 5, 0x11]  # begin, table, a chain and its rule for each hook, end
    assert [sequence for _, sequence, _ in batch] == [*range(1, 14)]
    table = attributes(batch[1][2], 4)
    assert (table[1], table[2]) == (b"nslab-trace-7\0", struct.pack(">I", 2))  # NFT_TABLE_F_OWNER
    assert b"\xde\xad\xbe\xef" in batch[3][2]


def test_rules_of_nft_by_their_numbers() -> None:
    text = """table ip kube-proxy { # handle 2
\tchain services { # handle 4
\t\tip daddr @x accept comment "a # handle 9" # handle 12
\t}
}
"""
    assert nft_texts(text) == {("kube-proxy", 12): 'ip daddr @x accept comment "a # handle 9"'}


def test_who_and_where() -> None:
    lab = assign_addresses(load(find("calico-two-node")))
    assert source(lab, "kube-system/kube-dns") == source(lab, "20.111.156.1") == "kube-system_kube-dns"
    for words, (address, port, kind) in {
        "svc-b": ("10.103.9.116", 8080, Kind.TCP),
        "default/svc-b:81": ("10.103.9.116", 81, Kind.TCP),
        "svc/svc-b": ("10.103.9.116", 8080, Kind.TCP),
        "kube-dns": ("10.96.0.10", 53, Kind.UDP),
        "node1:31080": ("192.168.59.22", 31080, Kind.TCP),
        "8.8.8.8:53": ("8.8.8.8", 53, Kind.TCP),
        "pod-b": ("20.111.156.7", 8080, Kind.TCP),
    }.items():
        found = target(lab, words)
        assert (str(found.address), found.port, found.kind) == (address, port, kind), words
    assert target(lab, "pod-b", Kind.ICMP).port == 0
    assert target(lab, "svc-b.default").name == "svc-b.default"
    assert names_to_ask(lab, "pod-a", "x.y")[0] == "x.y.default.svc.cluster.local"
    assert names_to_ask(lab, "node1", "x.y.") == ["x.y"]
    for words in ("node1", "pod-b:0", "pod-b:99999", "pod-b:", "x", "-1:80", "1.2.3:80", "svc-b\x1b[1m"):
        with pytest.raises(UsageError) as refused:
            target(lab, words)
        assert "\x1b" not in str(refused.value)
