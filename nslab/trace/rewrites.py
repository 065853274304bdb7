"""Which packets of a capture NAT rewrote on their way through a host, and how (pure)."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.wire.packets import DecodedPacket

_REMEMBERED = 1 << 14


class Rewrites:
    """Compares each packet that leaves a host with the same packet as it came in.

    It is the same if what no NAT changes is: protocol, TCP's numbers, the payload, and whether it was in a tunnel. What
    takes back an earlier change on the same host is called reverse.
    """

    def __init__(self) -> None:
        self._came: OrderedDict[tuple[object, ...], DecodedPacket] = OrderedDict()
        self._made: OrderedDict[tuple[str, str, str, str], None] = OrderedDict()

    def comment(self, host: str, packet: DecodedPacket, *, outgoing: bool) -> str:
        """What the host changed, if this packet leaves it otherwise than it came; else ""."""
        key = (
            host, packet.tunnelled, packet.protocol, packet.sequence, packet.acknowledges, packet.flags, packet.code,
            packet.payload,
        )  # fmt: skip
        if not outgoing:
            self._came[key] = packet
            _forget(self._came)
            return ""
        came = self._came.get(key)
        changes = [*self._changes(host, came, packet)] if came else []
        return f"{host}: {', '.join(changes)}" if changes else ""

    def _changes(self, host: str, came: DecodedPacket, left: DecodedPacket) -> Iterator[str]:
        targets = _end(came.target, came.ports[1]), _end(left.target, left.ports[1])
        sources = _end(came.source, came.ports[0]), _end(left.source, left.ports[0])
        for kind, other, (before, after) in (("DNAT", "SNAT", targets), ("SNAT", "DNAT", sources)):
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


def _end(address: object, port: int) -> str:
    return f"{address}:{port}" if port else f"{address}"


def decoded(data: bytes, *, ethernet: bool) -> DecodedPacket | None:
    """The IPv4 packet in a captured frame; None if there is none."""
    if not ethernet:
        return packets.decode(data)
    return packets.decode(data[14:]) if data[12:14] == b"\x08\0" else None
