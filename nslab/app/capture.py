"""Capture the packets of a lab's interfaces into one file."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from nslab.api.words import nearest, shown, some
from nslab.compiler.addresses import host_used
from nslab.dataclass import dataclass
from nslab.errors import UsageError
from nslab.linux.capture import InterfaceCapture
from nslab.linux.captured_links import interfaces
from nslab.linux.netns import Namespaces, named
from nslab.linux.stored_lab import stored_lab
from nslab.linux.visits import visiting
from nslab.objects.names import host_of, namesake
from nslab.trace.folded import Folding
from nslab.trace.rewrites import Rewrites, decoded
from nslab.version import version
from nslab.wire import pcapng

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.linux.capture import CapturedPacket
    from nslab.linux.captured_links import CapturedInterface
    from nslab.trace.folded import FoldedPacket

_LOOK = 50.0
"""Milliseconds after which a packet that has arrived is shown at the latest."""


@dataclass(frozen=True, slots=True)
class Sighted:
    """A captured packet, and what NAT changed of it on its host ("": nothing)."""

    packet: CapturedPacket
    interface: CapturedInterface
    comment: str

    @property
    def ethernet(self) -> bool:
        """Whether it begins with an Ethernet header."""
        return self.interface.link_type == pcapng.ETHERNET


class Capturing:
    """An open capture of a lab."""

    def __init__(self, capture: InterfaceCapture) -> None:
        self._capture = capture

    @property
    def interfaces(self) -> Sequence[CapturedInterface]:
        """Where it captures."""
        return self._capture.interfaces

    def packets(self, seconds: float | None = None, count: int | None = None) -> Iterator[Sighted]:
        """The packets in order of time, until Ctrl-C, or for `seconds`, or `count` of them."""
        yield from islice((one for batch in self._sighted(seconds) for one in batch), count)

    def folded(self, seconds: float | None = None, count: int | None = None) -> Iterator[FoldedPacket]:
        """The same, but each packet once, with all interfaces that it passed."""
        yield from islice(self._folded(seconds), count)

    def _folded(self, seconds: float | None) -> Iterator[FoldedPacket]:
        folding = Folding()
        for batch in self._sighted(seconds, look=_LOOK):
            for one in batch:
                packet = one.packet
                folding.add(
                    packet.at, packet.data, one.interface.name, one.comment, ethernet=one.ethernet,
                    outgoing=packet.outgoing,
                )  # fmt: skip
            yield from folding.over(time.time_ns())
        yield from folding.over()

    def _sighted(self, seconds: float | None, **look: float) -> Iterator[list[Sighted]]:
        rewrites = Rewrites()
        for batch in self._capture.batches(seconds, **look):
            yield [self._commented(packet, rewrites) for packet in batch]

    def _commented(self, packet: CapturedPacket, rewrites: Rewrites) -> Sighted:
        interface = self._capture.interfaces[packet.number]
        inside = decoded(packet.data, ethernet=interface.link_type == pcapng.ETHERNET)
        comment = rewrites.comment(interface.host, inside, outgoing=packet.outgoing) if inside else ""
        return Sighted(packet, interface, comment)

    def counts(self) -> tuple[int, int]:
        """How many packets all interfaces passed, and how many of those were lost because nobody read them in time."""
        every = [*self._capture.statistics()]
        return sum(received for _, received, _ in every), sum(lost for _, _, lost in every)

    def blocks(self, seconds: float | None = None, count: int | None = None) -> Iterator[bytes]:
        """A pcapng file: its section and interfaces, then each packet, behind interfaces that came meanwhile."""
        described = len(self.interfaces)
        yield pcapng.section(f"nslab {version()}") + _described(self.interfaces)
        for sighted in self.packets(seconds, count):
            new = self.interfaces[described:]
            described += len(new)
            yield _described(new) + _block(sighted)


def _described(some: Iterable[CapturedInterface]) -> bytes:
    return b"".join(pcapng.interface(one.link_type, one.name) for one in some)


def _block(sighted: Sighted) -> bytes:
    packet = sighted.packet
    way = pcapng.OUTBOUND if packet.outgoing else pcapng.INBOUND
    return pcapng.packet(packet.number, packet.at, packet.data, packet.length, way, sighted.comment)


@contextmanager
def capturing(name: str, where: Sequence[str] = (), expression: str = "") -> Iterator[Capturing]:
    """Capture in a running lab, from now on. `where`: HOST or HOST:INTERFACE, none for all; UsageError if unknown.

    `expression`: which packets, as tcpdump has it.
    """
    with ExitStack() as opened:
        spaces = opened.enter_context(Namespaces())
        with visiting(name):
            lab = stored_lab(name)
            hosts = [host_used(lab, host_of(word)) for word in where]
            _check(name, interfaces(spaces, named(name)), hosts)
            capture = InterfaceCapture(
                spaces, name, lambda one: not hosts or one.host in hosts or one.name in hosts, expression
            )
            opened.enter_context(capture)
        yield Capturing(capture)


def _check(lab: str, every: Sequence[CapturedInterface], where: Sequence[str]) -> None:
    for word in where:
        if not any(host_of(word) in (one.host, one.name) for one in every):
            raise UsageError(f"{lab} has no {shown(word)}; {_way_on(word, every)}")


def _way_on(word: str, every: Sequence[CapturedInterface]) -> str:
    host, _, dev = host_of(word).partition(":")
    devs = [one.name.partition(":")[2] for one in every if one.host == host]
    if devs:
        near = nearest(dev, devs)
        return f"did you mean {host}:{near}?" if near else f"it has {some([f'{host}:{one}' for one in devs])}"
    hosts = [*dict.fromkeys(one.host for one in every)]
    meant = namesake(host, hosts) or nearest(host, hosts)
    return f"did you mean {meant}?" if meant else f"it has {some(hosts)}"
