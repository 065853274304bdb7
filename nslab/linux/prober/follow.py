"""Follows conversations: repeats them with packet sockets in every namespace of the lab, and reads counters around it.

A packet is recognized through NAT and tunnels by what no hop changes: TCP's first sequence number, or random bytes in
the payload of a datagram or an echo.
"""

from __future__ import annotations

import select
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from nslab.errors import NslabError
from nslab.linux.netlink.neighbours import forget_unresolved
from nslab.linux.netns import named
from nslab.linux.prober.counters import counted, moved
from nslab.linux.prober.tracks import Track
from nslab.linux.taps import ETH_P_ARP, ETH_P_IP, OTHERHOST, OUTGOING, in_order, taps_in
from nslab.linux.timeouts import scaled
from nslab.objects.names import host, netns
from nslab.probes.evidence import Sighting, Trail, Unanswered
from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.linux.netns import Namespaces
    from nslab.linux.prober.counters import Counters
    from nslab.linux.taps import Frame
    from nslab.probes.evidence import Conversation
    from nslab.wire.packets import DecodedPacket

_SECONDS = scaled(0.8)
_SETTLE = scaled(0.02)
"""How long the last packets may take to where they are seen, or to where they are acknowledged."""
_TURN = 0.001


def follow(spaces: Namespaces, lab: str, questions: Sequence[Conversation], iptables: str) -> list[Trail]:
    """Repeat the conversations, all at once, and return what was seen of each."""
    everywhere = named(lab)
    with ExitStack() as opened:
        opened.callback(spaces.home)
        forget_unresolved(spaces, everywhere)  # who has failed to resolve an address sends no ARP request for a while
        taps = opened.enter_context(taps_in(spaces, everywhere))
        before = {ns: _counted(spaces, ns, iptables) for ns in everywhere}
        tracks = [Track(question) for question in questions]
        for track in tracks:
            opened.callback(track.close)
            with suppress(OSError):
                spaces.enter(netns(lab, track.question.source))
                track.open()
        wait(tracks)
        seen = in_order({host(ns): sock for ns, sock in taps.items()})
        counts = tuple(one for ns in everywhere for one in moved(host(ns), before[ns], _counted(spaces, ns, iptables)))
    silent, packets_seen = tuple(unanswered(seen)), [*_decoded(seen)]
    return [
        Trail(track.question, tuple(_of(track, packets_seen)), counts, track.error, silent, track.heard)
        for track in tracks
    ]


def _counted(spaces: Namespaces, ns: str, iptables: str) -> Counters:
    try:
        return counted(spaces, ns, iptables)
    except (OSError, NslabError):
        return {}


def wait(tracks: Sequence[Track]) -> None:
    """Until each conversation is over, or the time is."""
    deadline, poll = time.monotonic() + _SECONDS, select.poll()
    by_number = {track.sock.fileno(): track for track in tracks if track.sock and not track.over}
    for number, track in by_number.items():
        poll.register(number, track.events)
    while by_number and (left := deadline - time.monotonic()) > 0:
        for number, _ in poll.poll(left * 1000):
            by_number[number].hear()
            if by_number[number].over:
                poll.unregister(number)
                del by_number[number]
            else:
                poll.modify(number, by_number[number].events)
    _settle(tracks)


def _settle(tracks: Sequence[Track]) -> None:
    """Until nothing is on its way any more: what was answered has passed all taps, but for the last bytes of TCP."""
    deadline = time.monotonic() + _SETTLE
    while not all(track.settled for track in tracks) and time.monotonic() < deadline:
        select.select([], [], [], _TURN)


def _decoded(seen: Iterable[Frame]) -> Iterator[tuple[Frame, DecodedPacket]]:
    for one in seen:
        if one.kind == ETH_P_IP and (packet := packets.decode(one.data)):
            yield one, packet


def _of(track: Track, seen: Iterable[tuple[Frame, DecodedPacket]]) -> Iterator[Sighting]:
    for one, packet in seen:
        if what := track.what(packet):
            yield Sighting(
                one.at, one.host, one.dev, one.way == OUTGOING, what, packet.source, packet.target,
                one.way == OTHERHOST, packet.code, packet.ports[1],
            )  # fmt: skip


def unanswered(seen: Iterable[Frame]) -> Iterator[Unanswered]:
    """The ARP requests that hosts sent and got no reply to, without those of others, which a bridge floods."""
    asked: dict[tuple[str, IPv4Address], Unanswered] = {}
    flooded: set[tuple[str, IPv4Address, IPv4Address]] = set()
    answered: set[tuple[str, IPv4Address]] = set()
    for one in seen:
        if one.kind == ETH_P_ARP and (heard := packets.arp(one.data)):
            operation, sender, target = heard
            if operation == 1 and one.way != OUTGOING:
                flooded.add((one.host, sender, target))
            elif operation == 1 and (one.host, sender, target) not in flooded:
                asked.setdefault((one.host, target), Unanswered(one.host, one.dev, target))
            elif operation == 2 and one.way != OUTGOING:
                answered.add((one.host, sender))
    yield from (request for key, request in asked.items() if key not in answered)
