"""The kernel's trace of a conversation's packets in some namespaces (nf_tables: `nft monitor trace` reads the same).

A table of our own, before all others, marks the packets. It belongs to our socket: the kernel removes it when the
socket is closed, even by SIGKILL. Its name contains our process id, so two traces never meet.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.linux.netlink import batch, netfilter
from nslab.linux.taps import close_all
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
    """Traces the packets with `signs` (what, place in the transport packet, bytes) until it is closed."""

    def __init__(self, spaces: Namespaces, namespaces: Iterable[str], signs: Sequence[tuple[What, int, bytes]]) -> None:
        self.table = f"nslab-trace-{os.getpid()}"
        self._spaces = spaces
        self._marks, needles = needles_of(signs)
        self._transaction = b"".join(nftables.tracing(self.table, needles))
        self._writers: dict[str, socket.socket] = {}
        self._readers: dict[str, socket.socket] = {}
        with ExitStack() as opened:
            opened.callback(self.close)
            for ns in namespaces:
                self._open(ns)
            opened.pop_all()

    def _open(self, ns: str) -> None:
        self._spaces.enter(ns)
        reader = self._readers[ns] = _bound()
        reader.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, nftables.TRACE_GROUP)
        reader.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        writer = self._writers[ns] = _bound()
        writer.send(self._transaction)
        if refused := [*nftables.refusals(writer.recv(1 << 16))]:
            raise OSError(refused[0], os.strerror(refused[0]))

    def close(self) -> None:
        """End the trace; the kernel removes its tables."""
        close_all((*self._writers.values(), *self._readers.values()))

    def read(self) -> dict[str, TracedNamespace]:
        """By namespace, the events so far, and the rules that they refer to; only where there were any."""
        return {ns: self._read(ns, events) for ns, sock in self._readers.items() if (events := _events(sock))}

    def _read(self, ns: str, events: list[Event]) -> TracedNamespace:
        self._spaces.enter(ns)
        rules = netfilter.rules()
        with netfilter.connected() as sock:
            chains = batch.dump(sock, nftables.LIST_CHAINS, nftables.ALL_FAMILIES)
            bases = [found for body in chains if (found := nftables.base_chain(body))]
        ours = [rule.handle for rule in rules if rule.table == self.table]
        marks = dict(zip(ours, self._marks * len(nftables.HOOKS), strict=True))
        return TracedNamespace(self.table, events, rules, bases, marks)


def _bound() -> socket.socket:
    sock = netfilter.connected()
    sock.bind((0, 0))
    return sock


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
