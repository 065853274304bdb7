"""The blocks of a capture, its comments and its lines."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from sys import getrefcount

from nslab.trace.folded import QUIET, Folding
from nslab.trace.rewrites import Rewrites, decoded
from nslab.views.packets import folded_line, line, width
from nslab.wire import pcapng
from nslab.wire.packets import ICMP, IPIP, TCP, UDP, DecodedPacket, decode

A, B, SERVICE = map(IPv4Address, ("10.0.0.1", "10.0.1.1", "10.96.0.1"))


def segment(source: IPv4Address, target: IPv4Address, ports: tuple[int, int], **more: int) -> DecodedPacket:
    return DecodedPacket(source, target, TCP, ports, sequence=7, flags=2, **more)  # type: ignore[arg-type]


def test_what_leaves_otherwise_than_it_came_is_rewritten() -> None:
    rewrites = Rewrites()
    asked, sent = segment(A, SERVICE, (40000, 80)), segment(A, B, (40000, 8080))
    assert rewrites.comment("node", asked, outgoing=False) == ""
    assert rewrites.comment("node", sent, outgoing=True) == "node: DNAT 10.96.0.1:80 => 10.0.1.1:8080"
    assert rewrites.comment("other", sent, outgoing=True) == ""
    answer, back = segment(B, A, (8080, 40000), acknowledges=8), segment(SERVICE, A, (80, 40000), acknowledges=8)
    assert rewrites.comment("node", answer, outgoing=False) == ""
    assert rewrites.comment("node", back, outgoing=True) == "node: reverse DNAT 10.0.1.1:8080 => 10.96.0.1:80"
    assert rewrites.comment("node", asked, outgoing=True) == ""


def test_what_packets_carry_is_not_kept() -> None:
    rewrites = Rewrites()
    carried = bytes(1 << 20)
    for port in range(4):
        rewrites.comment("node", DecodedPacket(A, B, UDP, (port, 80), payload=carried), outgoing=False)
    assert getrefcount(carried) == 2


def test_blocks_are_whole() -> None:
    data = b"abcde"
    file = pcapng.section("nslab 1") + pcapng.interface(pcapng.RAW, "node1:tunl0")
    file += pcapng.packet(0, 1_700_000_000_123_456_789, data, 99, pcapng.OUTBOUND, "Dienst für 다") + pcapng.statistics(
        0, 1, 2, 3
    )
    kinds, at = [], 0
    while at < len(file):
        kind, length = struct.unpack_from("=II", file, at)
        assert length % 4 == 0
        assert struct.unpack_from("=I", file, at + length - 4)[0] == length
        kinds.append(kind)
        at += length
    assert (kinds, at) == ([0x0A0D0D0A, 1, 6, 5], len(file))
    assert "Dienst für 다".encode() in file


def test_a_line_a_packet() -> None:
    request = b"\0\1\x08\0\6\4\0\1" + bytes(6) + A.packed + bytes(6) + B.packed
    frame = bytes(12) + b"\x08\x06" + request
    assert line(1_000_001_000, "n:e", frame, ethernet=True, outgoing=False).endswith(
        "In  ARP who-has 10.0.1.1 tell 10.0.0.1"
    )
    head = bytes([0x45, 0, 0, 28, 0, 0, 0, 0, 63, 1, 0, 0]) + A.packed + B.packed
    echo = line(0, "n:t", head + b"\x08\0" + bytes(6), ethernet=False, outgoing=True, comment="n: x")
    assert echo.endswith("Out IP 10.0.0.1 > 10.0.1.1: ICMP echo request, ttl 63, length 28    # n: x")
    assert line(0, "n:t", b"", ethernet=False, outgoing=True)
    assert line(0, "n:e", b"", ethernet=True, outgoing=True)
    assert decoded(b"", ethernet=True) is None


def test_flags_are_tcpdumps() -> None:
    head = bytes([0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]) + A.packed + B.packed

    def shown(flags: int) -> str:
        data = head + struct.pack("!HHIIBBHHH", 40000, 80, 7, 8, 0x50, flags, 64, 0, 0)
        return line(0, "n:e", data, ethernet=False, outgoing=True).split("TCP ")[1].split(", ttl")[0]

    assert [shown(flags) for flags in (0x02, 0x12, 0x10, 0x18, 0x11, 0x14, 0)] == [
        "[S], seq 7", "[S.], seq 7, ack 8", "[.], seq 7, ack 8", "[P.], seq 7, ack 8", "[F.], seq 7, ack 8",
        "[R.], seq 7, ack 8", "[none], seq 7",
    ]  # fmt: skip


def test_names_take_the_columns_of_the_longest() -> None:
    names = ["node1:eth0", "shop_web-mn9tfzjkx5-cj7mn:eth0"]
    lines = [line(0, name, b"", ethernet=False, outgoing=True, columns=width(names)) for name in names]
    assert len({each.index(" Out ") for each in lines}) == 1
    assert width(["x" * 300]) == 40


def header(protocol: int, first: int = 0x45) -> bytes:
    return bytes([first, *bytes(8), protocol, 0, 0]) + A.packed + B.packed


def test_no_packet_of_a_pod_is_too_deep() -> None:
    assert decode(header(IPIP, first=0x40)) is None
    assert decode(header(IPIP) * 3000) is None
    assert decode((header(ICMP) + b"\3" + bytes(7)) * 2000)
    assert decode(header(IPIP) * 2 + header(ICMP) + bytes(8))


def test_the_same_packet_is_one() -> None:
    folding = Folding()
    asked = bytes.fromhex("45000028000140004006000000000000") + SERVICE.packed
    sent = asked[:16] + B.packed
    rest = bytes.fromhex("9c400050000000070000000050020000") + bytes(4)
    for at, where, data, outgoing in (
        (1, "pod:eth0", asked, True), (2, "node:cali", asked, False), (3, "node:tunl0", sent, True),
        (4, "other:tunl0", sent, False),
    ):  # fmt: skip
        comment = "node: DNAT a => b" if at == 3 else ""
        folding.add(at * 1000, data + rest, where, comment, ethernet=False, outgoing=outgoing)
    assert [*folding.over(4000 + QUIET)] == []
    [one] = folding.over(4001 + QUIET)
    assert (one.at, one.last, [place.where for place in one.stations]) == (
        1000, 4000, ["pod:eth0", "node:cali", "node:tunl0", "other:tunl0"]
    )  # fmt: skip
    shown = folded_line(one)
    assert "IP 0.0.0.0.40000 > 10.96.0.1.80: TCP [S], seq 7" in shown
    assert shown.endswith(": pod:eth0 > node:cali > node:tunl0 [DNAT a => b] > other:tunl0 (0.003 ms)")


def test_two_that_look_alike_are_two() -> None:
    folding = Folding()
    for at in (3, 4):
        folding.add(at, b"neither", "pod:eth0", "", ethernet=True, outgoing=True)
        folding.add(at, b"neither", "node:cali", "", ethernet=True, outgoing=False)
    assert [len(one.stations) for one in folding.over()] == [2, 2]
    assert [*folding.over()] == []
