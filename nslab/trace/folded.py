"""The same packet at several interfaces, as one (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass, field
from nslab.trace.rewrites import decoded, invariant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.wire.packets import DecodedPacket

QUIET = 50_000_000
"""Nanoseconds after which a packet that no interface has passed again has arrived, or is lost."""


class PassedInterface(NamedTuple):
    """A packet at an interface (HOST:INTERFACE). `comment`: what NAT changed of it."""

    where: str
    outgoing: bool
    tunnelled: bool
    comment: str


@dataclass(slots=True)
class FoldedPacket:
    """A packet as it was first seen, and where it was since. `at`, `last`: nanoseconds since 1970."""

    at: int
    last: int
    data: bytes
    ethernet: bool
    stations: list[PassedInterface] = field(default_factory=list)


class Folding:
    """Collects sightings in order of time."""

    def __init__(self) -> None:
        self._open: dict[tuple[object, ...], FoldedPacket] = {}
        self._over: list[FoldedPacket] = []

    def add(self, at: int, data: bytes, where: str, comment: str, *, ethernet: bool, outgoing: bool) -> None:
        """One more sighting. At the same place once more it is another packet, which looks alike."""
        packet = decoded(data, ethernet=ethernet)
        key = _key(packet, data, ethernet=ethernet)
        station = PassedInterface(where, outgoing, packet is not None and packet.tunnelled, comment)
        found = self._open.get(key)
        if found and station[:3] in (one[:3] for one in found.stations):
            self._over.append(self._open.pop(key))
            found = None
        if not found:
            found = self._open[key] = FoldedPacket(at, at, data, ethernet)
        found.stations.append(station)
        found.last = at

    def over(self, now: int | None = None) -> Iterator[FoldedPacket]:
        """Those that are complete at a time (None: all), in the order in which they began."""
        quiet = [key for key, one in self._open.items() if now is None or one.last + QUIET < now]
        self._over += [self._open.pop(key) for key in quiet]
        done, self._over = self._over, []
        yield from sorted(done, key=lambda one: one.at)


def _key(packet: DecodedPacket | None, data: bytes, *, ethernet: bool) -> tuple[object, ...]:
    return invariant(packet) if packet else (data[12:] if ethernet else data,)
