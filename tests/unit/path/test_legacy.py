"""The trace of iptables-legacy: its lines, and the tests that mark a packet."""

from __future__ import annotations

import struct

from nslab.trace import legacy
from nslab.wire import nflog, nftables
from nslab.wire.netlink import attribute, message
from nslab.wire.nflog import Logged

SAVED = """\
*raw
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A PREROUTING -m u32 --u32 "0x0=0x1" -j TRACE
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SEP - [0:0]
-A PREROUTING -j KUBE-SERVICES
-A KUBE-SERVICES -d 10.0.0.9/32 -g KUBE-SEP
-A KUBE-SEP -s 10.0.0.1/32 -j MARK --set-xmark 0x4000/0x4000
-A KUBE-SEP -j DNAT --to-destination 10.0.0.2:80
COMMIT
*filter
:FORWARD DROP [0:0]
:MINE - [0:0]
-A FORWARD -j MINE
-A MINE -j RETURN
COMMIT
"""
LINES = [
    "raw:PREROUTING:policy:2", "nat:PREROUTING:rule:1", "nat:KUBE-SERVICES:rule:1", "nat:KUBE-SEP:rule:2",
    "filter:FORWARD:rule:1", "filter:MINE:return:1", "filter:FORWARD:policy:2",
]  # fmt: skip


def events(lines: list[str]) -> list[nftables.Event]:
    chains = legacy.saved(SAVED)
    return legacy.events(((Logged(f"TRACE: {line} ", b"E packet", 3, 0, 0), 1) for line in lines), chains, "ours")


def test_lines_are_events_of_the_rules_they_name() -> None:
    texts = legacy.saved(SAVED).texts()
    told = [
        (one.table, one.chain, one.verdict, one.target, texts.get((one.table, one.handle))) for one in events(LINES)
    ]
    assert told == [
        ("ours", "prerouting", "continue", "", None),
        ("raw", "PREROUTING", "accept", "", None),
        ("nat", "PREROUTING", "jump", "KUBE-SERVICES", "-j KUBE-SERVICES"),
        ("nat", "KUBE-SERVICES", "goto", "KUBE-SEP", "-d 10.0.0.9/32 -g KUBE-SEP"),
        ("nat", "KUBE-SEP", "accept", "", "-j DNAT --to-destination 10.0.0.2:80"),
        ("filter", "FORWARD", "jump", "MINE", "-j MINE"),
        ("filter", "MINE", "return", "", "-j RETURN"),
        ("filter", "FORWARD", "drop", "", None),
    ]
    assert events(LINES)[-1].kind == nftables.POLICY


def test_the_first_event_of_each_hook_has_the_packet() -> None:
    assert [one.chain for one in events(LINES) if one.packet] == ["prerouting", "PREROUTING", "PREROUTING", "FORWARD"]


def test_raw_begins_the_next_packet() -> None:
    assert [one.identity for one in events(LINES + LINES)] == [1] * 8 + [2] * 8
    only_raw = events(LINES[:1] * 2)
    assert [one.identity for one in only_raw] == [1, 1, 2, 2]


def test_a_line_of_somebody_elses_log_is_none() -> None:
    chains = legacy.saved(SAVED)
    assert legacy.events([(Logged("mine: raw:PREROUTING", b"", 0, 0, 0), 0)], chains, "ours") == []


def test_bytes_are_looked_for_wherever_a_packet_may_be() -> None:
    assert legacy.u32(4, b"\xde\xad\xbe\xef") == [
        "0>>22&0x3C@4=0xdeadbeef",
        "0>>22&0x3C@0>>22&0x3C@4=0xdeadbeef",
        "0>>22&0x3C@30>>22&0x3C@34=0xdeadbeef",
        "0>>22&0x3C@8>>22&0x3C@12=0xdeadbeef",
    ]
    assert legacy.u32(8, bytes(range(8)))[0] == "0>>22&0x3C@8=0x10203&&0>>22&0x3C@12=0x4050607"


def test_a_datagram_of_the_log() -> None:
    body = struct.pack(">BBH", 2, 0, 0) + attribute(10, b"TRACE: x \0") + attribute(4, b"\0\0\0\3") + attribute(9, b"E")
    assert [*nflog.logged(message(4 << 8, 0, body))] == [Logged("TRACE: x ", b"E", 3, 0, 0)]
