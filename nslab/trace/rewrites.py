"""Which packets of a capture NAT rewrote on their way through a host, and how (pure)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeAlias

from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.wire.packets import DecodedPacket

_REMEMBERED = 1 << 14
"""Packets: what they carry is not kept, or some thousand long ones would fill the memory."""
_Ends: TypeAlias = tuple[str, str]


def invariant(packet: DecodedPacket) -> tuple[object, ...]:
    """What no NAT changes of a packet."""
    return (
        packet.protocol, packet.sequence, packet.acknowledges, packet.flags, packet.code, hash(packet.payload)
    )  # fmt: skip


class Rewrites:
    """Compares each packet that leaves a host with the same packet as it came in.

    It is the same if what no NAT changes is: protocol, TCP's numbers, the payload, and whether it was in a tunnel. What
    takes back an earlier change on the same host is called reverse.
    """

    def __init__(self) -> None:
        self._came: OrderedDict[tuple[object, ...], _Ends] = OrderedDict()
        self._made: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()

    def comment(self, host: str, packet: DecodedPacket, *, outgoing: bool) -> str:
        """What the host changed, if this packet leaves it otherwise than it came; else ""."""
        key = (host, packet.tunnelled, *invariant(packet))
        if not outgoing:
            self._came[key] = _ends(packet)
            _forget(self._came)
            return ""
        came = self._came.get(key)
        changes = [*self._changes(host, came, _ends(packet))] if came else []
        return f"{host}: {', '.join(changes)}" if changes else ""

    def _changes(self, host: str, came: _Ends, left: _Ends) -> Iterator[str]:
        (source, target), (new_source, new_target) = came, left
        for kind, other, before, after in (
            ("DNAT", "SNAT", target, new_target),
            ("SNAT", "DNAT", source, new_source),
        ):
            if before == after:
                continue
            if (host, other, after, before) in self._made:
                yield f"reverse {other} {before} => {after}"
            else:
                self._made[host, kind, before, after] = None
                _forget(self._made)
                yield f"{kind} {before} => {after}"


def _forget(known: OrderedDict[Any, Any]) -> None:
    while len(known) > _REMEMBERED:
        known.popitem(last=False)


def _ends(packet: DecodedPacket) -> _Ends:
    return _end(packet.source, packet.ports[0]), _end(packet.target, packet.ports[1])


def _end(address: object, port: int) -> str:
    return f"{address}:{port}" if port else f"{address}"


def decoded(data: bytes, *, ethernet: bool) -> DecodedPacket | None:
    """The IPv4 packet in a captured frame; None if there is none."""
    if not ethernet:
        return packets.decode(data)
    return packets.decode(data[14:]) if data[12:14] == b"\x08\0" else None
