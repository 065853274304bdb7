"""The kernel's trace of a conversation's packets in some namespaces (nf_tables: `nft monitor trace` reads the same).

A table of our own, before all others, marks the packets. It belongs to our socket: the kernel removes it when the
socket is closed, even by SIGKILL. Its name contains our process id, so two traces never meet.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import dataclass
from nslab.linux.netlink import batch, netfilter
from nslab.wire import nftables

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.linux.netns import Namespaces
    from nslab.probes.evidence import What
    from nslab.wire.nftables import BaseChain, Event, ListedRule

_SOL_NETLINK, _ADD_MEMBERSHIP, _SO_RCVBUFFORCE = 270, 1, 33
_BUFFER, _LONGEST = 1 << 22, 1 << 16
_IP = 20
_WITHIN = (20 + _IP, _IP + 8 + 8 + 14 + _IP)
"""Where the inner packet's transport header begins in IP-in-IP and in VXLAN, from the outer IP header on."""
_QUOTED = _IP + 8 + _IP
"""Where that of a packet begins that an ICMP error quotes."""


@dataclass(frozen=True, slots=True)
class Mark:
    """How a traced packet was known. `what`: None if a request and its reply have the same signs."""

    what: What | None
    tunnelled: bool


@dataclass(frozen=True, slots=True)
class TracedNamespace:
    """The events of one namespace, in order, and what they refer to. `marks`: by the number of a rule of our table."""

    table: str
    events: Sequence[Event]
    rules: Sequence[ListedRule]
    chains: Sequence[BaseChain]
    marks: dict[int, Mark]


class KernelTrace:
    """Traces packets in namespaces, those of one conversation after the other; its sockets stay open for the next."""

    def __init__(self, spaces: Namespaces) -> None:
        self.table = f"nslab-trace-{os.getpid()}"
        self._spaces = spaces
        self._marks: list[Mark] = []
        self._sockets: dict[str, _Sockets] = {}
        self._tracing: list[str] = []

    def take_sockets(self) -> list[socket.socket]:
        """All that are open, for who closes them; the kernel removes the tables then."""
        taken = [sock for pair in self._sockets.values() for sock in pair]
        self._sockets.clear()
        return taken

    def begin(self, namespaces: Iterable[str], signs: Sequence[tuple[What, int, bytes]]) -> None:
        """Trace the packets with `signs` (what, place in the transport packet, bytes)."""
        self._marks, needles = needles_of(signs)
        transaction = b"".join(nftables.tracing(self.table, needles))
        for ns in namespaces:
            if ns not in self._sockets:
                self._sockets[ns] = self._open(ns)
            for _ in netfilter.waiting(self._sockets[ns].reader, _LONGEST):
                pass  # of the last conversation
            _commit(self._sockets[ns].writer, transaction)
            self._tracing.append(ns)

    def _open(self, ns: str) -> _Sockets:
        self._spaces.enter(ns)
        with ExitStack() as opened:
            made = _Sockets(*(opened.enter_context(_bound()) for _ in _Sockets._fields))
            made.reader.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, nftables.TRACE_GROUP)
            made.reader.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
            opened.pop_all()
        return made

    def end(self) -> None:
        """Trace no packets any more."""
        transaction = b"".join(nftables.not_tracing(self.table))
        while self._tracing:
            with suppress(OSError):  # somebody has removed all tables
                _commit(self._sockets[self._tracing.pop()].writer, transaction)

    def read(self) -> dict[str, TracedNamespace]:
        """By namespace, the events so far, and the rules that they refer to; only where there were any."""
        return {ns: self._read(ns, events) for ns in self._tracing if (events := _events(self._sockets[ns].reader))}

    def _read(self, ns: str, events: list[Event]) -> TracedNamespace:
        self._spaces.enter(ns)
        rules = netfilter.rules()
        with netfilter.connected() as sock:
            chains = batch.dump(sock, nftables.LIST_CHAINS, nftables.ALL_FAMILIES)
            bases = [found for body in chains if (found := nftables.base_chain(body))]
        ours = [rule.handle for rule in rules if rule.table == self.table]
        marks = dict(zip(ours, self._marks * len(nftables.HOOKS), strict=True))
        return TracedNamespace(self.table, events, rules, bases, marks)


class _Sockets(NamedTuple):
    """Of a namespace: one for the events, and one that owns the table there."""

    reader: socket.socket
    writer: socket.socket


def _bound() -> socket.socket:
    sock = netfilter.connected()
    sock.bind((0, 0))
    return sock


def _commit(sock: socket.socket, transaction: bytes) -> None:
    """Have nf_tables do a transaction. OSError if it refuses."""
    sock.send(transaction)
    refused = [number for data in netfilter.waiting(sock, _LONGEST) for number in nftables.refusals(data)]
    if refused:
        raise OSError(refused[0], os.strerror(refused[0]))


def _events(sock: socket.socket) -> list[Event]:
    return [event for data in netfilter.waiting(sock, _LONGEST) for event in nftables.events(data)]


def needles_of(signs: Sequence[tuple[What, int, bytes]]) -> tuple[list[Mark], list[nftables.Needle]]:
    """What to look for in packets, alone, in a tunnel, and in an ICMP error."""
    by_sign: dict[tuple[int, bytes], What | None] = {}
    for what, place, value in signs:
        by_sign[place, value] = None if (place, value) in by_sign else what
    marks, needles = [], []
    for (place, value), known in by_sign.items():
        marks += [
            Mark(known, tunnelled=False),
            *(Mark(known, tunnelled=True) for _ in _WITHIN),
            Mark(None, tunnelled=False),
        ]
        needles.append(nftables.Needle(nftables.TRANSPORT, place, value))
        needles += [nftables.Needle(nftables.PACKET, begin + place, value) for begin in (*_WITHIN, _QUOTED)]
    return marks, needles
