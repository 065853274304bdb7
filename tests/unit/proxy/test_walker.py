"""The packet walker itself, on rules written by hand."""

from __future__ import annotations

import os
import sys
from fractions import Fraction

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from walker import Outcome, Packet, Ruleset

NODE = frozenset(["192.0.2.1"])
FORWARDED = Packet("10.0.0.1", "10.96.0.1", "tcp", 80)


def outcomes(saved: str, packet: Packet = FORWARDED) -> dict[Outcome, Fraction]:
    return Ruleset(saved, NODE).outcomes(packet)


def test_no_rules_leave_it_to_the_policy() -> None:
    assert outcomes("") == {Outcome("", False, "policy"): Fraction(1)}


def test_thirds_are_exact_whichever_way_they_are_written() -> None:
    for third in ("0.33333333349", "0.3333333333"):
        saved = f"""*nat
-A PREROUTING -d 10.96.0.1/32 -m statistic --mode random --probability {third} -j DNAT --to-destination 10.0.0.2:1
-A PREROUTING -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.0.0.3:1
-A PREROUTING -j DNAT --to-destination 10.0.0.4:1
COMMIT"""
        assert outcomes(saved) == {Outcome(f"10.0.0.{last}:1", False, "policy"): Fraction(1, 3) for last in (2, 3, 4)}


def test_a_mark_of_nat_is_seen_by_filter_and_by_postrouting() -> None:
    saved = """*filter
-A FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
COMMIT
*nat
:MARK-IT - [0:0]
-A PREROUTING -j MARK-IT
-A POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A POSTROUTING -j MASQUERADE --random-fully
-A MARK-IT -j MARK --set-xmark 0x4000/0x4000
COMMIT"""
    assert outcomes(saved) == {Outcome("", True, "ACCEPT"): Fraction(1)}
    assert outcomes(saved.replace("-A MARK-IT -j", "-A MARK-IT -s 10.0.0.9/32 -j")) == {
        Outcome("", False, "policy"): Fraction(1)
    }


def test_xor_takes_a_mark_off() -> None:
    saved = """*filter
-A FORWARD -m mark --mark 0x4000/0x4000 -j DROP
COMMIT
*nat
-A PREROUTING -j MARK --set-xmark 0x4000/0x4000
-A PREROUTING -j MARK --set-xmark 0x4000/0x0
COMMIT"""
    assert outcomes(saved) == {Outcome("", False, "policy"): Fraction(1)}


@pytest.mark.parametrize(
    ("packet", "chain"),
    [
        (Packet("10.0.0.1", "10.0.0.2", "tcp", 80), "FORWARD"),
        (Packet("10.0.0.1", "192.0.2.1", "tcp", 80), "INPUT"),
        (Packet("192.0.2.1", "10.0.0.2", "tcp", 80, ""), "OUTPUT"),
        (Packet("127.0.0.1", "127.0.0.1", "tcp", 80, ""), "OUTPUT"),
        (Packet("127.0.0.1", "127.0.0.1", "tcp", 80, ""), "INPUT"),
    ],
)
def test_each_packet_takes_its_hook(packet: Packet, chain: str) -> None:
    every = {"INPUT", "FORWARD", "OUTPUT"}
    assert outcomes(f"*filter\n-A {chain} -j REJECT --reject-with icmp-port-unreachable\nCOMMIT", packet) == {
        Outcome("", False, "REJECT"): Fraction(1)
    }
    both = {"OUTPUT", "INPUT"} if packet.src.startswith("127.") else {chain}
    others = "\n".join(f"-A {other} -j DROP" for other in sorted(every - both))
    assert outcomes(f"*filter\n{others}\nCOMMIT", packet) == {Outcome("", False, "policy"): Fraction(1)}


def test_what_goes_in_is_not_masqueraded_but_what_is_translated_goes_out() -> None:
    saved = """*nat
-A PREROUTING -p tcp --dport 30080 -j DNAT --to-destination 10.0.0.2:80
-A POSTROUTING -j MASQUERADE
COMMIT"""
    to_node = Packet("10.0.0.1", "192.0.2.1", "tcp", 30080)
    assert outcomes(saved, to_node) == {Outcome("10.0.0.2:80", True, "policy"): Fraction(1)}
    assert outcomes(saved, Packet("10.0.0.1", "192.0.2.1", "udp", 30080)) == {Outcome("", False, "policy"): Fraction(1)}


def test_recent_and_the_states() -> None:
    saved = """*filter
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j DROP
-A FORWARD -m conntrack --ctstate DNAT -j ACCEPT
COMMIT
*nat
-A PREROUTING -m recent --rcheck --seconds 60 --reap --name ONE --mask 255.255.255.255 --rsource -j DNAT --to-destination 10.0.0.2:1
COMMIT"""  # noqa: E501
    assert outcomes(saved) == {Outcome("", False, "policy"): Fraction(1)}
    back = Packet("10.0.0.1", "10.96.0.1", "tcp", 80, seen=frozenset(["ONE"]))
    assert outcomes(saved, back) == {Outcome("10.0.0.2:1", False, "ACCEPT"): Fraction(1)}


def test_what_it_does_not_understand_it_refuses() -> None:
    with pytest.raises(AssertionError, match="--tcp-flags is not understood"):
        Ruleset("*filter\n-A INPUT -p tcp -m tcp --tcp-flags SYN SYN -j DROP\nCOMMIT", NODE)
    with pytest.raises(AssertionError, match="no chain REDIRECT"):
        outcomes("*nat\n-A PREROUTING -j REDIRECT\nCOMMIT")
