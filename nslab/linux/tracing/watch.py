"""Sends one packet and watches it and its reply at every interface and in every chain of a lab."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch
from nslab.linux.netlink.neighbours import forget_unresolved
from nslab.linux.netns import named
from nslab.linux.prober.counters import kernel_counters, moved
from nslab.linux.prober.follow import unanswered, wait
from nslab.linux.prober.tracks import Track
from nslab.linux.taps import ETH_P_ARP, ETH_P_IP, OTHERHOST, OUTGOING, in_order
from nslab.linux.tracing import affinity, connections
from nslab.linux.tracing.events import as_header, crossings, merged
from nslab.linux.tracing.legacy_trace import LegacyTrace
from nslab.linux.tracing.relays import made, of_proxies, passings, relayed
from nslab.objects.names import host, netns
from nslab.probes.evidence import What
from nslab.trace.affinity import pinned
from nslab.trace.observed import Answered, Passing, WatchedPacket
from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from ipaddress import IPv4Address
    from typing import TypeAlias

    from nslab.linux.netns import Namespaces
    from nslab.linux.taps import Frame
    from nslab.linux.tracing.instruments import Instruments
    from nslab.linux.tracing.kernel_trace import TracedNamespace
    from nslab.linux.tracing.relays import Relays
    from nslab.linux.tracing.rule_texts import RuleTexts
    from nslab.probes.evidence import Conversation
    from nslab.trace.observed import Crossing

    Devices: TypeAlias = Mapping[str, tuple[int, int]]


def watch(
    spaces: Namespaces, instruments: Instruments, lab: str, question: Conversation, relays: Relays | None = None
) -> WatchedPacket:
    """Send the packet of `question` and return what was seen until its reply came, or the time was over.

    `relays`: of a Service that processes serve, which make a connection of their own.
    It leaves nothing behind: no rule, no entry in any conntrack, and no affinity that was not there.
    """
    everywhere, track, trace = named(lab), Track(question), instruments.trace
    with ExitStack() as opened:
        opened.callback(track.close)
        forget_unresolved(spaces, everywhere)  # who has failed to resolve an address sends no ARP request for a while
        taps = instruments.taps(everywhere)
        others = {one.tuple for one in relayed(spaces, lab, relays)} if relays else set()
        before = {ns: kernel_counters(spaces, ns) for ns in everywhere}
        opened.callback(trace.end)
        trace.begin(everywhere, track.signs)
        legacy = LegacyTrace(spaces, everywhere, track.signs)
        opened.callback(legacy.close)
        opened.callback(spaces.home)
        with suppress(OSError):
            spaces.enter(netns(lab, question.source))
            track.open()
        spaces.home()  # `down` ends what is in a lab
        wait([track])
        new = of_proxies(lab, made(spaces, lab, relays, others)) if relays and not track.error else []
        seen = in_order({host(ns): sock for ns, sock in taps.items()})
        counts = [one for ns in everywhere for one in moved(host(ns), before[ns], kernel_counters(spaces, ns))]
        traced, logged = trace.read(), legacy.read()
        met = {*traced, *logged, *(netns(lab, frame.host) for frame in seen)}
        devices = {ns: batch.indexes_and_mtus(spaces.route_socket(ns)) for ns in everywhere if ns in met}
        texts = instruments.texts
        crossed = [one for ns, found in traced.items() for one in _crossings(spaces, ns, found, devices[ns], texts)]
        for ns, (lines, rules) in logged.items():
            crossed = merged(crossed, crossings(host(ns), lines, _names(devices[ns]), rules))
        passed = tuple(_passings(track, seen))
        relay = passings(new, seen)
        known = connections.entries(spaces, lab, (*passed, *relay))
        track.abort()
        connections.wait_until_closed(spaces, lab, known)
        connections.forget(spaces, lab, (*known, *connections.tunnelled(spaces, lab, passed)))
        kept = tuple(pinned(crossed))
        affinity.forget(spaces, lab, [one for one in kept if not one.renewed])
    return WatchedPacket(
        question, passed, tuple(crossed), tuple(_answered(seen)), tuple(unanswered(seen)), tuple(counts),
        tuple(entry.connection for entry in known), _mtus(devices), track.error,
        any(one.renewed for one in kept), relay,
    )  # fmt: skip


def _crossings(
    spaces: Namespaces, ns: str, traced: TracedNamespace, devices: Devices, known: RuleTexts
) -> list[Crossing]:
    spaces.enter(ns)
    tables = {(event.family, event.table) for event in traced.events if event.table != traced.table}
    texts = known.of(ns, traced.rules, tables, traced.table)
    return crossings(host(ns), traced, _names(devices), texts)


def _names(devices: Devices) -> dict[int, str]:
    return {index: name for name, (index, _) in devices.items()}


def _passings(track: Track, seen: Sequence[Frame]) -> Iterator[Passing]:
    """The packets of the conversation. A reply without our sign is known by the request's ends, the other way round."""
    asked: set[tuple[object, ...]] = set()
    known: set[tuple[object, ...]] = set()
    for frame in seen:
        packet = packets.decode(frame.data) if frame.kind == ETH_P_IP else None
        if not packet:
            continue
        header = as_header(packet)
        if header.source.is_loopback and not track.question.address.is_loopback:
            continue  # what a server asks another process of its host about it
        what = track.what(packet)
        source, sport, target, dport = header.ends
        if what is None and packet.protocol == packets.UDP and (target, dport, source, sport) in asked:
            what = What.REPLY
        if what is None:
            continue
        if what is What.REQUEST:
            asked.add(header.ends)
        outer = as_header(packet.outer) if packet.outer else None
        sight = frame.host, frame.dev, frame.way, what, header, outer
        if sight in known:
            return  # TCP sends it once more
        known.add(sight)
        astray = frame.way == OTHERHOST
        yield Passing(frame.at, frame.host, frame.dev, frame.way == OUTGOING, what, header, outer, astray, packet.code)


def _answered(seen: Iterable[Frame]) -> Iterator[Answered]:
    """The ARP requests that hosts sent and got a reply to."""
    asked: dict[tuple[str, IPv4Address], str] = {}
    repliers: dict[tuple[IPv4Address, IPv4Address], str] = {}
    for frame in seen:
        if frame.kind != ETH_P_ARP or not (heard := packets.arp(frame.data)):
            continue
        operation, sender, target = heard
        if operation == packets.ARP_REQUEST and frame.way == OUTGOING:
            asked[frame.host, target] = frame.dev
        elif operation == packets.ARP_REPLY and frame.way == OUTGOING:
            repliers.setdefault(
                (sender, target), f"{frame.host}'s {frame.dev}"
            )  # before a bridge or the switch passes it on
        elif operation == packets.ARP_REPLY and frame.way != OUTGOING and (frame.host, sender) in asked:
            dev = asked.pop((frame.host, sender))
            yield Answered(frame.host, dev, sender, frame.data[8:14].hex(":"), repliers.get((sender, target), ""))


def _mtus(devices: Mapping[str, Devices]) -> dict[tuple[str, str], int]:
    return {(host(ns), name): mtu for ns, there in devices.items() for name, (_, mtu) in there.items()}
