"""iptables' targets: what comes out of one rule."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from ipaddress import IPv4Address
from typing import Any

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from ask import NODE, one_rule, packet

from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import Flow4, HookOutcome, Verdict
from nslab.trace.rules.ruleset import read


def after(rule: str, table: str = "filter", hook: str = "FORWARD", **changes: Any) -> HookOutcome:
    found = one_rule(rule, packet(**changes), table, hook)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("target", "mark", "expected"),
    [
        ("--set-xmark 0x4000/0x4000", 0x1, 0x4001),
        ("--set-xmark 0x4000/0x0", 0x4001, 0x1),
        ("--set-xmark 0x1/0xff", 0x1FF, 0x101),
        ("--set-mark 0/0x1b0000", 0x1F0000, 0x40000),
        ("--set-mark 0x1/0x1", 0x2, 0x3),
        ("--set-mark 5", 0xFF, 5),
        ("--or-mark 0x4000", 0x1, 0x4001),
        ("--and-mark 0xff", 0x101, 0x1),
        ("--xor-mark 0x3", 0x1, 0x2),
    ],
)
def test_marks(target: str, mark: int, expected: int) -> None:
    assert after(f"-j MARK {target}", mark=mark).packet.mark == expected


@pytest.mark.parametrize(
    ("target", "changes", "marks"),
    [
        ("--set-xmark 0x5/0xff", {"ct_mark": 0x1FF}, (0, 0x105)),
        ("--save-mark --nfmask 0xff --ctmask 0xff", {"mark": 0x305, "ct_mark": 0x101}, (0x305, 0x105)),
        ("--save-mark", {"mark": 0x305, "ct_mark": 0x101}, (0x305, 0x305)),
        ("--restore-mark --mask 0xff00", {"mark": 0x12, "ct_mark": 0x345}, (0x312, 0x345)),
        ("--restore-mark --nfmask 0xff --ctmask 0xff", {"mark": 0x301, "ct_mark": 0x105}, (0x305, 0x105)),
        ("--set-xmark 0x5/0xff", {"state": "INVALID"}, (0, 0)),
    ],
)
def test_marks_of_connections(target: str, changes: dict[str, Any], marks: tuple[int, int]) -> None:
    end = after(f"-j CONNMARK {target}", "mangle", **changes).packet
    assert (end.mark, end.ct_mark) == marks


@pytest.mark.parametrize(
    ("target", "verdict", "reject"),
    [
        ("-j ACCEPT", Verdict.ACCEPT, ""),
        ("-j DROP", Verdict.DROP, ""),
        ("-j REJECT --reject-with icmp-host-prohibited", Verdict.REJECT, "icmp-host-prohibited"),
        ("-j REJECT", Verdict.REJECT, "icmp-port-unreachable"),
        ("-p tcp -j REJECT --reject-with tcp-reset", Verdict.REJECT, "tcp-reset"),
        ("-j RETURN", Verdict.ACCEPT, ""),
        ('-j LOG --log-prefix "-j DROP " --log-uid', Verdict.ACCEPT, ""),
        ("-j NFLOG --nflog-group 5", Verdict.ACCEPT, ""),
        ("-p tcp --syn -j TCPMSS --clamp-mss-to-pmtu", Verdict.ACCEPT, ""),
        ("", Verdict.ACCEPT, ""),
    ],
)
def test_verdicts(target: str, verdict: Verdict, reject: str) -> None:
    end = after(target)
    assert (end.verdict, end.reject, end.chance, end.doubts) == (verdict, reject, 1, ())


@pytest.mark.parametrize(
    ("target", "changes", "destination"),
    [
        ("--to-destination 10.0.1.9:8080", {}, "10.0.1.9:8080"),
        ("--to-destination 10.0.1.9", {}, "10.0.1.9:80"),
        ("--to-destination :8080", {}, "10.0.1.2:8080"),
        ("--to-destination 10.0.1.9:70-90", {}, "10.0.1.9:80"),
        ("--to-destination 10.0.1.9:8000-9000", {}, "10.0.1.9:8000"),
        ("--to-destination 10.0.1.9:8000-9000/50", {}, "10.0.1.9:8030"),
        ("--to-destination 10.0.1.9:8080", {"protocol": 1}, "10.0.1.9:80"),
    ],
)
def test_dnat(target: str, changes: dict[str, Any], destination: str) -> None:
    end = after(f"-j DNAT {target}", "nat", "PREROUTING", **changes).packet
    assert f"{end.destination}:{end.destination_port}" == destination
    assert end.status == {"DNAT"}
    sent = packet(**changes)
    assert end.origin == Flow4(sent.source, 40000, IPv4Address("10.0.1.2"), 80)


def test_dnat_to_several_addresses_takes_each_with_the_same_chance() -> None:
    ruleset = read("*nat\n-A PREROUTING -j DNAT --to-destination 10.0.1.9-10.0.1.11 --persistent\nCOMMIT\n")
    ends = evaluate(ruleset, packet(), "PREROUTING", NODE)
    assert {str(end.packet.destination): end.chance for end in ends} == {
        f"10.0.1.{last}": Fraction(1, 3) for last in (9, 10, 11)
    }


def test_what_nobody_can_say_is_unknown() -> None:
    for target in ("10.0.0.0-10.9.0.0", "10.0.1.9:8000-9000 --random"):
        end = after(f"-j DNAT --to-destination {target}", "nat", "PREROUTING")
        assert (end.verdict, end.chance, len(end.doubts)) == (Verdict.UNKNOWN, None, 1)


@pytest.mark.parametrize(
    ("hook", "changes", "destination"),
    [("PREROUTING", {}, "192.0.2.1:8080"), ("OUTPUT", {"iif": ""}, "127.0.0.1:8080")],
)
def test_redirect(hook: str, changes: dict[str, Any], destination: str) -> None:
    end = after("-p tcp -j REDIRECT --to-ports 8080", "nat", hook, **changes).packet
    assert f"{end.destination}:{end.destination_port}" == destination


def test_redirect_without_an_address_is_unknown() -> None:
    end = after("-j REDIRECT", "nat", "PREROUTING", iif="eth9")
    assert (end.verdict, end.doubts) == (Verdict.UNKNOWN, ("REDIRECT to the address of eth9",))


@pytest.mark.parametrize(
    ("target", "source", "ports", "masquerade"),
    [
        ("SNAT --to-source 192.0.2.9", "192.0.2.9", "", False),
        ("SNAT --to-source 192.0.2.9:1024-2000", "192.0.2.9", "1024-2000", False),
        ("SNAT --to-source 192.0.2.9:1024-50000", "192.0.2.9", "", False),
        ("SNAT --to-source 192.0.2.9 --random-fully", "192.0.2.9", "random", False),
        ("MASQUERADE", "198.51.100.7", "", True),
        ("MASQUERADE --random-fully", "198.51.100.7", "random", True),
        ("MASQUERADE --to-ports 1024-2000", "198.51.100.7", "1024-2000", True),
        ("NETMAP --to 192.0.3.0/24", "192.0.3.7", "", False),
    ],
)
def test_snat(target: str, source: str, ports: str, masquerade: bool) -> None:
    end = after(f"-p tcp -j {target}", "nat", "POSTROUTING").packet
    assert (str(end.source), end.source_ports, end.masquerade) == (source, ports, masquerade)
    assert end.status == {"SNAT"}


def test_netmap_on_the_way_in_is_for_the_destination() -> None:
    assert str(after("-j NETMAP --to 10.9.0.0/16", "nat", "PREROUTING").packet.destination) == "10.9.1.2"


def test_notrack_before_conntrack() -> None:
    for target in ("CT --notrack", "NOTRACK"):
        end = after(f"-j {target}", "raw", "PREROUTING", state="NEW")
        assert end.packet.state == "UNTRACKED"


def test_headers() -> None:
    assert after("-j TTL --ttl-set 5", "mangle").packet.ttl == 5
    assert after("-j TTL --ttl-dec 70", "mangle").packet.ttl == 0
    assert after("-j DSCP --set-dscp 0x05", "mangle").packet.tos == 20
    assert after("-j TOS --set-tos 0x10/0xff", "mangle", tos=0xFF).packet.tos == 0x10


@pytest.mark.parametrize(
    "target",
    [
        "NFQUEUE --queue-num 5",
        "SYNPROXY --mss 1460",
        "MARK --set-xmark 5x",
        "SET --map-set s src --map-mark",
        "KUBE-GONE",
    ],
)
def test_a_target_that_is_not_understood_ends_the_walk_or_not(target: str) -> None:
    ruleset = read(f"*filter\n-A FORWARD -j {target}\n-A FORWARD -j DROP\nCOMMIT\n")
    ends = evaluate(ruleset, packet(), "FORWARD", NODE)
    assert [(end.verdict, end.chance) for end in ends] == [(Verdict.UNKNOWN, None), (Verdict.DROP, None)]
    assert all(target.split()[0] in end.doubts[0] for end in ends)


def test_a_source_that_a_rule_put_into_a_list_is_there() -> None:
    lines = ["-m recent --set --name S", "-m recent --rcheck --hitcount 4 --name S -j DROP"]
    assert walked(lines) == Verdict.ACCEPT
    assert walked([lines[0], "-m recent --rcheck --name S -j DROP"]) == Verdict.DROP


def walked(lines: list[str]) -> Verdict:
    text = "".join(f"-A FORWARD {line}\n" for line in lines)
    (end,) = evaluate(read(f"*filter\n{text}COMMIT\n"), packet(), "FORWARD", NODE)
    return end.verdict


def test_a_set_to_which_a_rule_adds_is_unknown_afterwards() -> None:
    text = "*filter\n-A FORWARD -j SET --add-set s src\n-A FORWARD -m set --match-set s src -j DROP\nCOMMIT\n"
    ends = evaluate(read(text, "create s hash:ip family inet\n"), packet(), "FORWARD", NODE)
    assert {end.doubts for end in ends} == {("set s, to which a rule adds",)}
