"""The connection that kube-proxy makes for another in userspace mode: its own, with other ports and other bytes."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nslab.linux import owned
from nslab.linux.taps import ETH_P_IP, OTHERHOST, OUTGOING
from nslab.linux.timeouts import scaled
from nslab.linux.tracing.connections import listed
from nslab.linux.tracing.events import as_header
from nslab.objects.names import host, netns
from nslab.probes.evidence import What
from nslab.trace.observed import Passing
from nslab.wire import packets

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.linux.netns import Namespaces
    from nslab.linux.taps import Frame
    from nslab.linux.tracing.connections import KnownEntry

_SECONDS = scaled(0.4)
_PAUSE = 0.005


class Relays(NamedTuple):
    """Who may relay, and to where."""

    nodes: tuple[str, ...]
    endpoints: frozenset[tuple[IPv4Address, int]]


def relayed(spaces: Namespaces, lab: str, relays: Relays) -> list[KnownEntry]:
    """The connections of nodes to the endpoints that conntrack knows."""
    return [
        entry
        for node in relays.nodes
        for entry in listed(spaces, netns(lab, node), node)
        if (entry.connection.original.target, entry.connection.original.ports[1]) in relays.endpoints
    ]


def made(spaces: Namespaces, lab: str, relays: Relays, before: Container[bytes]) -> list[KnownEntry]:
    """Those that are new, as soon as there are any and all are answered."""
    deadline = time.monotonic() + _SECONDS
    while True:
        new = [entry for entry in relayed(spaces, lab, relays) if entry.tuple not in before]
        silent = any(entry.connection.state == "SYN_SENT" for entry in new)
        if (new and not silent) or time.monotonic() > deadline:
            return new
        time.sleep(_PAUSE)


def of_proxies(lab: str, found: Sequence[KnownEntry]) -> list[KnownEntry]:
    """Of several connections, those that kube-proxies have a socket of: others are of probes, or of anybody else."""
    if len({one.connection.original.ends for one in found}) < 2:
        return [*found]
    proxies = {host(ns): record.pid for (ns, role), record in owned.running(lab).items() if role == "kube-proxy"}
    own = {(node, port) for node, pid in proxies.items() for port in _ports(pid)}
    ends = {
        one.connection.original.ends for one in found if (one.connection.host, one.connection.original.ports[0]) in own
    }
    return [one for one in found if one.connection.original.ends in ends]


def _ports(pid: int) -> set[int]:
    """The local ports of a process's TCP and UDP sockets."""
    here = Path(f"/proc/{pid}")
    ports: set[int] = set()
    with suppress(OSError):  # it has ended
        links = {os.readlink(link) for link in (here / "fd").iterdir()}
        for kind in ("tcp", "tcp6", "udp", "udp6"):
            for line in (here / "net" / kind).read_text().splitlines()[1:]:
                fields = line.split()
                if f"socket:[{fields[9]}]" in links:
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def passings(found: Sequence[KnownEntry], seen: Sequence[Frame]) -> tuple[Passing, ...]:
    """The first packet in each direction, at all interfaces. Nothing if there are several: none has a sign of ours."""
    entries = [one.connection for one in found]
    if len({entry.original.ends for entry in entries}) != 1:
        return ()
    asks = {ends for entry in entries for ends in (entry.original.ends, entry.reply.reply_ends)}
    answers = {ends for entry in entries for ends in (entry.reply.ends, entry.original.reply_ends)}
    return tuple(_first(_of(seen, asks, answers)))


def _of(seen: Iterable[Frame], asks: Container[object], answers: Container[object]) -> Iterator[Passing]:
    for frame in seen:
        packet = packets.decode(frame.data) if frame.kind == ETH_P_IP else None
        if not packet or (packet.protocol == packets.TCP and not packet.opens and not packet.reset):
            continue
        header = as_header(packet)
        if header.ends in asks or header.ends in answers:
            what = What.REQUEST if header.ends in asks else What.REPLY
            outer = as_header(packet.outer) if packet.outer else None
            leaving, astray = frame.way == OUTGOING, frame.way == OTHERHOST
            yield Passing(frame.at, frame.host, frame.dev, leaving, what, header, outer, astray)


def _first(found: Iterable[Passing]) -> Iterator[Passing]:
    """Until one is seen a second time at the same place: TCP repeats what is not answered, and UDP goes on."""
    known: set[tuple[object, ...]] = set()
    for one in found:
        sight = one.host, one.dev, one.leaving, one.what, one.outer is not None, one.header.ends
        if sight in known:
            return
        known.add(sight)
        yield one
