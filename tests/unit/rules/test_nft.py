"""nft's statements, as `nft -j` 1.0.6 listed them: each rule's comment is what was typed, without its quotes.

tests/data/rules/statements.nft.json is what that nft printed of tables that have no packets.
"""

from __future__ import annotations

import json
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from ask import NODE, packet

from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.nft_text import rule_text
from nslab.trace.rules.packet import Verdict
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from nslab.trace.rules.packet import HookOutcome

DATA = Path(__file__).parents[2] / "data" / "rules"
LISTED = json.loads((DATA / "statements.nft.json").read_text())["nftables"]
RULES = {one["rule"]["comment"]: one["rule"] for one in LISTED if "comment" in one.get("rule", {})}
OTHERS = [one for one in LISTED if "comment" not in one.get("rule", {})]
UDP, ICMP = {"protocol": 17}, {"protocol": 1}
NAT = frozenset({"DNAT"})


def alone(rule: str, hook: str = "forward", kind: str = "filter", **changes: Any) -> tuple[HookOutcome, ...]:
    """The outcomes of one rule in a base chain; the chain drops what the rule does not accept."""
    chain = {"family": "inet", "table": "t", "name": "base", "type": kind, "hook": hook, "prio": 0, "policy": "drop"}
    whole = [*OTHERS, {"chain": chain}, {"rule": {**RULES[rule], "chain": "base"}}]
    return evaluate(read(nft=json.dumps({"nftables": whole})), packet(**changes), hook.upper(), NODE)


def answer(rule: str, **changes: Any) -> bool | Fraction | str:
    """Whether a rule that accepts matches: yes, no, with what chance, or what is unknown."""
    ends = alone(rule, **changes)
    if ends[0].doubts:
        assert [end.chance for end in ends] == [None] * 2
        return ends[0].doubts[0]
    matched = sum((end.chance for end in ends if end.chance and any(step.number for step in end.steps)), Fraction(0))
    return matched == 1 if matched in (0, 1) else matched


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ("iifname vmap @devs", {}, True),
        ("iifname vmap @devs", {"iif": "eth1"}, False),
        ("iif eth0 accept", {}, True),
        ("iif != lo accept", {}, True),
        ("oifname cbr* accept", {}, True),
        ("iifname { a, eth* } accept", {}, True),
        ("iifname { a, eth* } accept", {"iif": "b"}, False),
        ("iifname != eth0 accept", {"iif": ""}, True),
        ("iifname @names accept", {}, True),
        ("meta mark & 0xf0 == 0x10 accept", {"mark": 0x11F}, True),
        ("meta mark & 0xf0 == 0x10 accept", {"mark": 0x20}, False),
        ("meta mark != 0x5 accept", {}, True),
        ("ct state new,related accept", {}, True),
        ("ct state new,related accept", {"state": "ESTABLISHED"}, False),
        ("ct state { new, established } accept", {"state": "ESTABLISHED"}, True),
        ("ct state != established accept", {}, True),
        ("ct state 0 accept", {}, False),
        ("ct state vmap { established : accept, related : accept, invalid : drop }", {"state": "INVALID"}, True),
        ("ct state vmap { established : accept, related : accept, invalid : drop }", {}, False),
        ("ct status dnat accept", {"status": NAT}, True),
        ("ct status dnat accept", {"state": "UNTRACKED"}, False),
        ("ct status & (snat|dnat) == 0 accept", {}, True),
        ("ct status & (snat|dnat) == 0 accept", {"status": NAT}, False),
        ("ct status snat,dnat accept", {"status": NAT}, True),
        ("ct direction original accept", {}, True),
        ("ct direction original accept", {"reply": True}, False),
        ("ct mark 5 accept", {"ct_mark": 5}, True),
        ("ct mark 5 accept", {"ct_mark": 5, "state": "INVALID"}, False),
        ("ct original ip daddr 10.0.1.2 accept", {}, True),
        ("ct zone 5 accept", {}, "ct zone"),
        ("ct label 5 accept", {}, "ct label"),
        ("fib daddr type local accept", {"destination": "192.0.2.1"}, True),
        ("fib daddr type local accept", {}, False),
        ("fib saddr . iif oif missing drop", {}, False),
        ("fib saddr . iif oif missing drop", {"source": "10.0.1.9"}, True),
        ("fib saddr . iif oif missing drop", {"mark": 7}, False),
        ("fib saddr . mark . iif oif missing drop", {"mark": 7}, True),
        ("fib daddr . iif type != { local, broadcast } drop", {"destination": "192.0.2.255"}, False),
        ("fib daddr . iif type != { local, broadcast } drop", {"destination": "10.0.1.1"}, True),
        ("fib daddr oifname cbr0 accept", {}, True),
        ("tcp dport { 22, 80-90 } counter log prefix x  level info accept", {"destination_port": 90}, True),
        ("tcp dport { 22, 80-90 } counter log prefix x  level info accept", {"destination_port": 91}, False),
        ("tcp dport 80 accept", {}, True),
        ("tcp dport 80 accept", UDP, False),
        ("tcp dport 80 accept", {"fragment": True}, False),
        ("tcp dport != 80 accept", UDP, False),
        ("udp dport 80 accept", UDP, True),
        ("th dport 80 accept", {"protocol": 132}, True),
        ("th dport 80 accept", ICMP, "th dport of protocol 1"),
        ("tcp flags syn / syn,ack,rst,fin accept", {}, True),
        ("tcp flags & (fin|syn) == syn accept", {"tcp_flags": 18}, True),
        ("tcp flags syn accept", {"tcp_flags": 18}, True),
        ("tcp flags != syn accept", {"tcp_flags": 18}, True),
        ("tcp flags { syn, syn | ack } accept", {"tcp_flags": 18}, True),
        ("tcp flags { syn, syn | ack } accept", {"tcp_flags": 16}, False),
        ("tcp flags ! fin,rst accept", {}, True),
        ("tcp flags & (syn|ack) != 0 accept", {"tcp_flags": 4}, False),
        ("tcp sequence 5 accept", {}, "tcp sequence"),
        ("limit rate 10/second burst 5 packets accept", {}, True),
        ("limit rate over 10/second accept", {}, False),
        ("limit name lim accept", {}, True),
        ("limit name excess accept", {}, False),
        ("ct count over 5 accept", {}, False),
        ("ct count 5 accept", {}, True),
        ("quota over 10 mbytes drop", {}, "quota"),
        ("ip saddr @nets accept", {}, False),
        ("ip daddr @nets accept", {}, True),
        ("ip daddr @nets accept", {"destination": "172.16.0.9"}, True),
        ("ip daddr @nets accept", {"destination": "172.16.0.10"}, False),
        ("ip daddr @nets accept", {"destination": "9.9.9.9"}, False),
        ("ip daddr != @nets accept", {}, False),
        ("ip daddr . meta l4proto . th dport @flows accept", {}, True),
        ("ip daddr . meta l4proto . th dport @flows accept", {"destination_port": 91}, False),
        ("ip daddr . meta l4proto . th dport @flows accept", ICMP, False),
        ("ip saddr @commented accept", {}, True),
        ("ip daddr . tcp dport { 10.0.1.2 . 80 } accept", {}, True),
        ("ip saddr . ip daddr vmap { 198.51.100.7 . 10.0.1.2 : accept }", {}, True),
        ("ip daddr vmap { 10.0.0.0/8 : accept, 11.0.0.0/8 : jump u }", {"destination": "12.0.0.1"}, False),
        ("update @dyn { ip saddr limit rate over 3/second } accept", {}, False),
        ("ip saddr @dyn accept", {}, False),
        ("ip protocol icmp icmp type echo-request accept", ICMP, True),
        ("icmp type { echo-request, echo-reply } icmp code 0 accept", ICMP, True),
        ("icmp type destination-unreachable icmp code 4 accept", {**ICMP, "icmp_type": 3, "icmp_code": 4}, True),
        ("ip ttl 64 meta length 60-100 ip length > 20 accept", {}, True),
        ("ip ttl 64 meta length 60-100 ip length > 20 accept", {"length": 101}, False),
        ("ip ttl < 64 accept", {}, False),
        ("ip dscp af11 accept", {"tos": 0x28}, True),
        ("ip daddr != { 10.0.0.0/8, 192.168.0.0/16 } accept", {}, False),
        ("ip saddr >= 198.51.100.7 accept", {}, True),
        ("ip daddr & 255.255.0.255 == 10.0.0.2 accept", {"destination": "10.0.9.2"}, True),
        ("ip frag-off & 0x1fff != 0 accept", {}, "ip frag-off"),
        ("ip6 saddr fe80::1 accept", {}, False),
        ("ether saddr 00:11:22:33:44:55 accept", {"mac": "00:11:22:33:44:55"}, True),
        ("ether saddr 00:11:22:33:44:55 accept", {}, "ether saddr"),
        ("meta nfproto ipv4 meta protocol ip accept", {}, True),
        ("meta l4proto { 6, 17 } accept", {}, True),
        ("meta l4proto != { 6, 17 } accept", ICMP, True),
        ("ip protocol != 6 accept", {}, False),
        ("meta pkttype { broadcast, multicast } accept", {"pkttype": "multicast"}, True),
        ("meta skuid 0 accept", {}, False),
        ("meta skuid 0 accept", {"iif": "", "uid": 0}, True),
        ("meta time > 2020-01-01 00:00:00 accept", {}, "meta time"),
        ("meta hour 10:00-12:00 accept", {}, "meta hour"),
        ("numgen random mod 10 < 3 accept", {}, Fraction(3, 10)),
        ("socket transparent 1 accept", {}, "socket"),
        ("@nh,96,32 0x01020304 accept", {}, "payload"),
        ("log group 5 accept", {}, True),
        ("counter packets 5 bytes 10", {}, True),
    ],
)
def test_a_match(rule: str, changes: dict[str, Any], expected: object) -> None:
    assert answer(rule, **changes) == expected


@pytest.mark.parametrize(
    ("rule", "changes", "marks"),
    [
        ("meta mark set ip saddr map @marks", {}, (5, 0)),
        ("meta mark set ip saddr map @marks", {"source": "198.51.100.8", "mark": 3}, (3, 0)),
        ("meta mark set meta mark and 0xff or 0x10", {"mark": 0x101}, (0x11, 0)),
        ("meta mark set meta mark xor 0x4000", {"mark": 0x4001}, (1, 0)),
        ("meta mark set ct mark", {"ct_mark": 9}, (9, 9)),
        ("ct mark set meta mark", {"mark": 9}, (9, 9)),
    ],
)
def test_marks(rule: str, changes: dict[str, Any], marks: tuple[int, int]) -> None:
    (end,) = alone(rule, **changes)
    assert (end.packet.mark, end.packet.ct_mark) == marks


def test_fields_that_a_rule_changes() -> None:
    assert alone("ip ttl set 5")[0].packet.ttl == 5
    assert alone("tcp dport set 81")[0].packet.destination_port == 81
    assert alone("tcp dport set 81", **UDP)[0].packet.destination_port == 80
    assert alone("tcp option maxseg size set rt mtu")[0].packet == packet()
    assert {end.packet.mark: end.chance for end in alone("meta mark set numgen random mod 4 offset 100")} == {
        mark: Fraction(1, 4) for mark in (100, 101, 102, 103)
    }


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "dnat ip to numgen random mod 3 map { 0 : 10.0.0.1, 1 : 10.0.0.2, 2: 10.0.0.3 }",
            {f"10.0.0.{last}:80": Fraction(1, 3) for last in (1, 2, 3)},
        ),
        (
            "dnat ip to jhash ip saddr . tcp sport mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }",
            {f"10.0.0.{last}:80": Fraction(1, 2) for last in (1, 2)},
        ),
        (
            "dnat ip to symhash mod 2 map { 0 : 10.0.0.1, 1 : 10.0.0.2 }",
            {f"10.0.0.{last}:80": Fraction(1, 2) for last in (1, 2)},
        ),
        ("dnat ip addr . port to tcp dport map @to", {"10.0.1.9:8080": 1}),
        ("meta l4proto tcp dnat ip to 10.0.0.9:8080", {"10.0.0.9:8080": 1}),
        (
            "ip saddr 198.51.100.7 dnat ip to 10.0.0.1-10.0.0.2",
            {f"10.0.0.{last}:80": Fraction(1, 2) for last in (1, 2)},
        ),
        ("meta l4proto tcp dnat ip to 10.0.0.9:8000-9000", {"10.0.0.9:8000": 1}),
        ("meta l4proto tcp redirect to :8080", {"192.0.2.1:8080": 1}),
    ],
)
def test_destinations(rule: str, expected: dict[str, Fraction]) -> None:
    ends = alone(rule, "prerouting", "nat")
    assert {f"{end.packet.destination}:{end.packet.destination_port}": end.chance for end in ends} == expected
    assert {end.verdict for end in ends} == {Verdict.ACCEPT}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            "snat ip prefix to ip saddr map { 198.51.100.0/24 : 192.168.5.0/24 }",
            ("192.168.5.7", "", False),
        ),
        ("meta l4proto tcp snat ip to 1.2.3.4:1024-2000 random", ("1.2.3.4", "1024-2000", False)),
        ("masquerade fully-random, persistent", ("198.51.100.7", "random", True)),
        ("masquerade", ("198.51.100.7", "", True)),
    ],
)
def test_sources(rule: str, expected: tuple[str, str, bool]) -> None:
    (end,) = alone(rule, "postrouting", "nat")
    assert (str(end.packet.source), end.packet.source_ports, end.packet.masquerade) == expected


@pytest.mark.parametrize(
    ("rule", "reject"),
    [
        ("reject", "icmp-port-unreachable"),
        ("reject with icmp type host-unreachable", "icmp-host-unreachable"),
        ("tcp dport 80 reject with tcp reset", "tcp-reset"),
    ],
)
def test_rejects(rule: str, reject: str) -> None:
    (end,) = alone(rule)
    assert (end.verdict, end.reject) == (Verdict.REJECT, reject)


def test_verdicts_by_lot() -> None:
    both = alone("numgen random mod 100 vmap { 0-49 : drop, 50-99 : accept }")
    assert {end.verdict: end.chance for end in both} == {Verdict.DROP: Fraction(1, 2), Verdict.ACCEPT: Fraction(1, 2)}
    three = alone("numgen inc mod 3 vmap { 0 : jump u, 1 : drop, 2 : accept }")
    assert [(end.verdict, end.chance) for end in three] == [
        (Verdict.DROP, Fraction(1, 3)), (Verdict.DROP, Fraction(1, 3)), (Verdict.ACCEPT, Fraction(1, 3)),
    ]  # fmt: skip
    missed = alone("numgen random mod 4 vmap { 0 : drop }")
    assert [(end.chance, len(end.steps)) for end in missed] == [(Fraction(1, 4), 1), (Fraction(3, 4), 1)]


def test_chains_return_as_after_a_jump_and_a_goto() -> None:
    for rule in ("ip daddr 10.0.0.0/16 goto u", "meta mark and 0x4000 == 0 return"):
        (end,) = alone(rule)
        assert (end.verdict, end.steps[-1].rule) == (Verdict.DROP, "policy DROP")


def test_a_set_to_which_the_rule_adds_is_unknown() -> None:
    assert answer("add @dyn { ip saddr } ip saddr @dyn drop") == "@dyn, to which a rule adds"


@pytest.mark.parametrize(
    ("parts", "verdict", "doubts"),
    [
        ([{"ct count": {"val": 20, "inv": True}}], Verdict.ACCEPT, ()),
        ([{"counter": None}, {"limit": {"rate": 5, "per": "second"}}], Verdict.DROP, ()),
        ([{"quota": {"val": 5}}], Verdict.DROP, ("quota",)),
    ],
)
def test_statements_of_an_element(parts: list[Any], verdict: Verdict, doubts: tuple[str, ...]) -> None:
    """`add @dyn { ip saddr ct count over 20 } drop`, and others in its place."""
    element = {"payload": {"protocol": "ip", "field": "saddr"}}
    expr = [{"set": {"op": "add", "elem": element, "set": "@dyn", "stmt": parts}}, {"drop": None}]
    whole = [*OTHERS, base("inet", "t", "base", "forward", 0)]
    whole.append({"rule": {"family": "inet", "table": "t", "chain": "base", "expr": expr}})
    first, *_ = evaluate(read(nft=json.dumps({"nftables": whole})), packet(), "FORWARD", NODE)
    assert (first.verdict, first.doubts) == (verdict, doubts)


@pytest.mark.parametrize("rule", ["synproxy mss 1460", "meta l4proto tcp tproxy ip to :80"])
def test_a_statement_that_is_not_understood_ends_the_walk_or_not(rule: str) -> None:
    ends = alone(rule)
    assert [(end.verdict, end.chance) for end in ends] == [(Verdict.UNKNOWN, None), (Verdict.DROP, None)]


@pytest.mark.parametrize(
    ("xt", "verdicts"),
    [
        (None, [Verdict.UNKNOWN, Verdict.ACCEPT]),
        ({"type": "target", "name": "MASQUERADE"}, [Verdict.UNKNOWN, Verdict.ACCEPT]),
        ({"type": "match", "name": "comment"}, [Verdict.DROP, Verdict.ACCEPT]),
    ],
)
def test_what_is_iptables_own_is_not_understood(xt: Any, verdicts: list[Verdict]) -> None:
    drops = [{"drop": None}] * (verdicts[0] is Verdict.DROP)
    rule = {"family": "inet", "table": "t", "chain": "base", "expr": [{"xt": xt}, *drops]}
    whole = [*OTHERS, base("inet", "t", "base", "forward", 0), {"rule": rule}]
    ends = evaluate(read(nft=json.dumps({"nftables": whole})), packet(), "FORWARD", NODE)
    assert [end.verdict for end in ends] == verdicts
    assert all(end.doubts and end.chance is None for end in ends)


def test_notrack_before_conntrack() -> None:
    chain = {"family": "ip", "table": "t", "name": "raw", "type": "filter", "hook": "prerouting", "prio": -300}
    rule = {"family": "ip", "table": "t", "chain": "raw", "expr": [{"notrack": None}]}
    whole = {"nftables": [{"table": {"family": "ip", "name": "t"}}, {"chain": chain}, {"rule": rule}]}
    (end,) = evaluate(read(nft=json.dumps(whole)), packet(), "PREROUTING", NODE)
    assert end.packet.state == "UNTRACKED"


def base(family: str, table: str, name: str, hook: str, priority: object, kind: str = "filter") -> dict[str, Any]:
    where = {"hook": hook, "prio": priority, "type": kind}
    return {"chain": {"family": family, "table": table, "name": name, "handle": 1, **where}}


def marking(table: str, chain: str, family: str = "ip") -> dict[str, Any]:
    return {"rule": {"family": family, "table": table, "chain": chain, "expr": [{"log": None}]}}


def test_tables_of_both_are_asked_by_priority_and_of_one_priority_the_latest_first() -> None:
    tables = [("ip", "filter"), ("ip", "before"), ("inet", "after"), ("ip6", "six"), ("bridge", "b")]
    objects = [{"table": {"family": family, "name": name}} for family, name in tables]
    objects += [
        base("ip", "filter", "FORWARD", "forward", 0),
        base("ip", "before", "a", "forward", "filter - 10"),
        base("ip", "before", "b", "forward", 0),
        base("inet", "after", "c", "forward", "security"),
        base("inet", "after", "d", "forward", 0),
        base("ip6", "six", "e", "forward", 0),
        base("bridge", "b", "f", "forward", 0),
    ]
    objects += [
        marking("before", "a"),
        marking("before", "b"),
        marking("after", "c", "inet"),
        marking("after", "d", "inet"),
    ]
    objects += [marking("six", "e", "ip6"), marking("b", "f", "bridge")]
    saved = "*filter\n-A FORWARD -j LOG\nCOMMIT\n*mangle\n-A FORWARD -j LOG\nCOMMIT\n"
    (end,) = evaluate(read(saved, nft=json.dumps({"nftables": objects})), packet(), "FORWARD", NODE)
    assert [f"{step.table} {step.chain}" for step in end.steps if step.number] == [
        "mangle FORWARD", "ip before a", "inet after d", "ip before b", "filter FORWARD", "inet after c",
    ]  # fmt: skip


def test_all_nat_chains_are_asked_where_nat_stands_until_one_decides() -> None:
    objects = [{"table": {"family": "ip", "name": "t"}}]
    objects += [
        base("ip", "t", "late", "prerouting", -50, "nat"),
        base("ip", "t", "first", "prerouting", -105, "nat"),
        base("ip", "t", "then", "prerouting", -90),
        marking("t", "late"),
        marking("t", "first"),
        marking("t", "then"),
    ]
    saved = "*nat\n-A PREROUTING -j DNAT --to-destination 10.0.1.9\nCOMMIT\n"
    (end,) = evaluate(read(saved, nft=json.dumps({"nftables": objects})), packet(), "PREROUTING", NODE)
    assert [step.chain for step in end.steps if step.number] == ["first", "PREROUTING", "then"]


def test_a_chain_at_an_interface_is_for_what_comes_by_it() -> None:
    objects = [{"table": {"family": "netdev", "name": "t"}}, base("netdev", "t", "in", "ingress", 0)]
    objects[1]["chain"] |= {"dev": "eth0", "policy": "drop"}
    ruleset = read(nft=json.dumps({"nftables": objects}))
    assert evaluate(ruleset, packet(), "INGRESS", NODE)[0].verdict is Verdict.DROP
    assert evaluate(ruleset, packet(iif="eth1"), "INGRESS", NODE)[0].verdict is Verdict.ACCEPT


def test_bits_of_a_mark_are_shown_as_nft_shows_them() -> None:
    mark = {"meta": {"key": "mark"}}
    bit = {"&": [mark, 0x10000]}
    shown = {
        "meta mark & 0x00010000 == 0x00010000": {"match": {"op": "==", "left": bit, "right": 0x10000}},
        "meta mark & 0x00010000 != 0x00000000": {"match": {"op": "!=", "left": bit, "right": 0}},
        "meta mark set meta mark | 0x00004000": {"mangle": {"key": mark, "value": {"|": [mark, 0x4000]}}},
    }
    assert {text: rule_text([statement]) for text, statement in shown.items()} == {text: text for text in shown}
