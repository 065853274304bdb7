"""What conntrack knows of one conversation, by its own netlink (pyroute2's takes 150 ms to import).

Numbers and layouts: Linux's include/uapi/linux/netfilter/nfnetlink_conntrack.h.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import defaultdict
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from nslab.linux.netlink import batch, netfilter
from nslab.linux.timeouts import scaled
from nslab.objects.names import netns
from nslab.probes.evidence import What
from nslab.trace.observed import ConntrackEntry, Header
from nslab.wire import icmp, packets
from nslab.wire.netlink import NLMSG_ERROR, attribute, attributes, message, messages, numbered

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.linux.netns import Namespaces
    from nslab.trace.observed import Flow, Passing

_GET, _DELETE = (1 << 8) | 1, (1 << 8) | 2
_HEADER = struct.pack("=BB2s", socket.AF_INET, 0, bytes(2))
_ORIGINAL, _REPLY, _PROTOINFO = 1, 2, 4
_ICMP_ID, _ICMP_TYPE, _ICMP_CODE = 4, 5, 6
_NESTED = 0x8000
_CLOSING, _LOOK = scaled(0.2), 0.002
"""Seconds to wait for the end of a connection, and between two looks."""
_STATES = ("NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE")


class KnownEntry(NamedTuple):
    """An entry, and what the kernel knows it by."""

    connection: ConntrackEntry
    tuple: bytes


def entries(spaces: Namespaces, lab: str, passings: Iterable[Passing]) -> list[KnownEntry]:
    """The entries of the hosts that a request passed. A host's own packet leaves it only as NAT has made it."""
    asked: dict[str, set[Flow]] = defaultdict(set)
    for one in passings:
        if one.what is What.REQUEST:
            asked[one.host].add(one.header.flow)
    return [entry for host, flows in asked.items() for entry in _found(spaces, netns(lab, host), host, flows)]


def tunnelled(spaces: Namespaces, lab: str, passings: Iterable[Passing]) -> list[KnownEntry]:
    """The entries of the UDP tunnels' packets around it: their source port is this connection's.

    IP-in-IP has one entry for all that two nodes say to each other; tunnel_entries.py sees to it.
    """
    outer: dict[str, set[Flow]] = defaultdict(set)
    for one in passings:
        if one.outer and one.outer.protocol == packets.UDP:
            outer[one.host].add(one.outer.flow)
    return [entry for host, flows in outer.items() for entry in _found(spaces, netns(lab, host), host, flows)]


def _found(spaces: Namespaces, ns: str, host: str, flows: Iterable[Flow]) -> Iterator[KnownEntry]:
    """The entries of flows: as an interface saw them come, or, of the host's own, as it translated them.

    Each is looked up. To list all, the kernel goes through a table that all namespaces of the machine share (10 ms).
    """
    spaces.enter(ns)
    known: set[bytes] = set()
    with netfilter.connected() as sock:
        for flow in flows:
            for wanted in (_tuple(flow, icmp.ECHO), _tuple(_turned(flow), icmp.ECHO_REPLY)):
                entry = known_entry(body, host) if (body := _looked_up(sock, wanted)) else None
                if entry and entry.tuple not in known:
                    known.add(entry.tuple)
                    yield entry


def _looked_up(sock: socket.socket, wanted: bytes) -> bytes | None:
    sock.sendall(numbered(message(_GET, 0, _HEADER + attribute(_ORIGINAL | _NESTED, wanted)), 1))
    kind, _, body = next(messages(sock.recv(1 << 16)))
    return None if kind == NLMSG_ERROR else body


def _turned(flow: Flow) -> Flow:
    protocol, source, sport, target, dport, identity = flow
    return protocol, target, dport, source, sport, identity


def _tuple(flow: Flow, echo: int) -> bytes:
    """How conntrack names one direction; `echo`: the type, if it is one."""
    protocol, source, sport, target, dport, identity = flow
    number = attribute(1, bytes([protocol]))
    if protocol == packets.ICMP:
        number += attribute(_ICMP_ID, identity.to_bytes(2, "big"))
        number += attribute(_ICMP_TYPE, bytes([echo])) + attribute(_ICMP_CODE, b"\0")
    else:
        number += attribute(2, sport.to_bytes(2, "big")) + attribute(3, dport.to_bytes(2, "big"))
    ends = attribute(1, source.packed) + attribute(2, target.packed)
    return attribute(1 | _NESTED, ends) + attribute(2 | _NESTED, number)


def wait_until_closed(spaces: Namespaces, lab: str, known: Iterable[KnownEntry]) -> None:
    """Wait until the reset of a connection has passed its hosts: without their entries it would be INVALID there."""
    deadline = time.monotonic() + _CLOSING
    waiting = [entry for entry in known if entry.connection.state]
    while waiting and time.monotonic() < deadline:
        waiting = [entry for entry in waiting if _is_open(spaces, lab, entry)]
        if waiting:
            time.sleep(_LOOK)


def _is_open(spaces: Namespaces, lab: str, entry: KnownEntry) -> bool:
    spaces.enter(netns(lab, entry.connection.host))
    with netfilter.connected() as sock:
        body = _looked_up(sock, entry.tuple)
    return bool(body) and _state(attributes(body or b"", 4).get(_PROTOINFO, b"")) != "CLOSE"


def forget_flow(spaces: Namespaces, lab: str, hosts: Iterable[str], flow: Flow) -> None:
    """Remove the entries of a flow on hosts, also of those to which it goes on as the first has translated it."""
    hosts = [*hosts]
    for _ in range(2):
        known = [entry for host in hosts for entry in _found(spaces, netns(lab, host), host, {flow})]
        forget(spaces, lab, known)
        onward = [entry.connection.reply.reply_flow for entry in known if entry.connection.reply.reply_flow != flow]
        if not onward:
            return
        flow = onward[0]


def forget(spaces: Namespaces, lab: str, known: Iterable[KnownEntry]) -> None:
    """Remove entries; one that is gone already is no error."""
    for entry in known:
        spaces.enter(netns(lab, entry.connection.host))
        with netfilter.connected() as sock:
            batch.send(sock, [message(_DELETE, 0, _HEADER + attribute(_ORIGINAL | _NESTED, entry.tuple))])


def listed(spaces: Namespaces, ns: str, host: str) -> Iterator[KnownEntry]:
    """All entries of a host; none if its kernel has no conntrack."""
    spaces.enter(ns)
    with netfilter.connected() as sock, suppress(OSError):
        for body in batch.dump(sock, _GET, _HEADER):
            if entry := known_entry(body, host):
                yield entry


def known_entry(body: bytes, host: str) -> KnownEntry | None:
    """An entry, as the kernel lists it or tells of it; None if it is not IPv4's."""
    found = attributes(body, 4)
    original = _header(found.get(_ORIGINAL, b""))
    if not original:
        return None
    reply = _header(found.get(_REPLY, b"")) or original
    return KnownEntry(ConntrackEntry(host, original, reply, _state(found.get(_PROTOINFO, b""))), found[_ORIGINAL])


def _header(body: bytes) -> Header | None:
    found = attributes(body)
    ends, protocol = attributes(found.get(1, b"")), attributes(found.get(2, b""))
    if 1 not in ends or 1 not in protocol:
        return None
    ports = (int.from_bytes(protocol.get(2, b""), "big"), int.from_bytes(protocol.get(3, b""), "big"))
    kind = protocol.get(_ICMP_TYPE, b"")
    identity = int.from_bytes(protocol[_ICMP_ID], "big") if kind and kind[0] in icmp.ECHOES else 0
    return Header(IPv4Address(ends[1]), IPv4Address(ends[2]), protocol[1][0], ports, identity=identity)


def _state(body: bytes) -> str:
    number = attributes(attributes(body).get(1, b"")).get(1)
    return _STATES[number[0]] if number and number[0] < len(_STATES) else ""
