"""Packets that a lab's machines send all the time, which say nothing of a failed test (pure).

IPv6 neighbour discovery and multicast listeners, and the kubelet's health probes. A TCP connection is a probe if its
request says so, or if the node itself opens it to a probed port and it carries no data (tcpSocket, or no answer).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from nslab.pytest_plugin.capture import Packet

Endpoint: TypeAlias = tuple[str, int]
"""Address and port."""
_ETH_IPV4, _ETH_IPV6 = 0x0800, 0x86DD
_TCP, _HOP_BY_HOP, _ICMPV6 = 6, 0, 58
_NEIGHBOURS = range(133, 138)  # router and neighbour solicitation and advertisement, redirect (RFC 4861)
_LISTENERS = (130, 131, 132, 143)  # MLD (RFC 2710, RFC 3810)
_AGENT = b"User-Agent: kube-probe/"


class _Segment(NamedTuple):
    source: Endpoint
    target: Endpoint
    payload: bytes


def without_noise(packets: Sequence[Packet], probed: Collection[Endpoint]) -> list[Packet]:
    """The packets that are none of these. `probed`: where the kubelet of this node asks."""
    segments = [_segment(packet) for packet in packets]
    flows = [frozenset(segment[:2]) if segment else None for segment in segments]
    asked = {flow for flow, one in zip(flows, segments, strict=True) if one and _AGENT in one.payload}
    to_probed = {flow for flow, one in zip(flows, segments, strict=True) if one and one.target in probed}
    for packet, flow, segment in zip(packets, flows, segments, strict=True):
        if segment and (segment.payload or (segment.target in probed and not packet.outgoing)):
            to_probed.discard(flow)
    return [
        packet
        for packet, flow in zip(packets, flows, strict=True)
        if flow not in asked | to_probed and not _is_ipv6_noise(packet)
    ]


def _segment(packet: Packet) -> _Segment | None:
    """A packet's TCP segment, as much of it as was captured; None if it has none."""
    data = packet.kept
    if packet.protocol != _ETH_IPV4 or len(data) < 40 or data[9] != _TCP:
        return None
    start = (data[0] & 15) * 4
    ports = int.from_bytes(data[start : start + 2], "big"), int.from_bytes(data[start + 2 : start + 4], "big")
    source, target = (".".join(map(str, data[at : at + 4])) for at in (12, 16))
    payload = data[start + (data[start + 12] >> 4) * 4 : int.from_bytes(data[2:4], "big")]
    return _Segment((source, ports[0]), (target, ports[1]), payload)


def _is_ipv6_noise(packet: Packet) -> bool:
    data = packet.kept
    if packet.protocol != _ETH_IPV6 or len(data) < 49:
        return False
    kind, at = data[6], 40
    if kind == _HOP_BY_HOP:  # MLD comes with a router alert
        kind, at = data[40], 40 + 8 * (data[41] + 1)
    return kind == _ICMPV6 and at < len(data) and (data[at] in _NEIGHBOURS or data[at] in _LISTENERS)
