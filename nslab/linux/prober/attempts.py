"""What is asked of Services: a name of DNS, a connection of a call; and what is understood of the answers."""

from __future__ import annotations

import os
import re
import socket
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.linux.prober import pace
from nslab.probes import Outcome
from nslab.probes.calls import Call, Try
from nslab.wire import dns_client

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

# Both on one connection: who answers, and whom he sees. The answer to the second ends it.
_REQUESTS = b"GET /hostname HTTP/1.1\r\nHost: probe\r\n\r\nGET /clientip HTTP/1.0\r\n\r\n"
_WORDS = (b"hostname", b"clientip")
_ADDRESS = re.compile(r"\[?(?:::ffff:)?([\d.]+)\]?:\d+")


class Attempt:
    """One conversation. `must`: something has to come of it (`refused`: a no); silence is awaited for less long.

    `server`: whom it takes room from, of which there is `room` at first.
    """

    kind, protocol = socket.SOCK_STREAM, 0
    must = True
    refused = False
    server: Hashable | None = None
    room = pace.SOME

    def __init__(self, source: str, to: tuple[str, int]) -> None:
        self.source, self.to = source, to
        self.sock: socket.socket | None = None
        self.began = self.again = self.took = 0.0
        self.asked = self.second = False
        self.outcome: Outcome | None = None
        self.detail = ""

    @property
    def content(self) -> bool:
        """Whether it is enough that the connection was made."""
        return False

    @property
    def moot(self) -> bool:
        """Whether it need not be asked any more."""
        return False

    def ask(self) -> None:
        """Say what is to be said. Called when connected, and (over UDP) again when nothing came."""
        raise NotImplementedError

    def hear(self) -> bool:
        """Read what came; whether that is all."""
        raise NotImplementedError


class Lookup(Attempt):
    """A name, asked of the cluster's DNS."""

    kind = socket.SOCK_DGRAM

    def __init__(self, call: Call, dns: IPv4Address) -> None:
        super().__init__(call.source, (str(dns), 53))
        self._call, self._dns = call, dns
        self._name, self._number = call.name, int.from_bytes(os.urandom(2), "big")
        self.addresses: tuple[IPv4Address, ...] = ()
        self._code = ""

    def repeated(self) -> Lookup:
        """The same question, among few."""
        lookup = Lookup(self._call, self._dns)
        lookup.server = lookup.to
        return lookup

    @property
    def reported(self) -> str:
        """What DNS said instead of an address."""
        return self._code if self.outcome is Outcome.REACHED else str(self.outcome)

    def ask(self) -> None:
        assert self.sock
        self.sock.send(dns_client.query(self._number, self._name))

    def hear(self) -> bool:
        assert self.sock
        heard = dns_client.answer(self.sock.recv(4096), self._number)
        if heard:
            self.addresses, self._code = heard
        return heard is not None


class Trial(Attempt):
    """One connection of a call. `others`: those before it, if it is asked again, of which a silent one is enough."""

    def __init__(self, call: Call, address: IPv4Address, others: Sequence[Trial] | None = None) -> None:
        super().__init__(call.source, (str(address), call.port))
        self.kind = socket.SOCK_DGRAM if call.protocol == "UDP" else socket.SOCK_STREAM
        self.protocol = socket.IPPROTO_SCTP if call.protocol == "SCTP" else 0
        self.must = call.outcome is not Outcome.TIMED_OUT and not call.lost
        self.refused = call.outcome is Outcome.REFUSED
        self.server, self.room = _server(call, alone=others is not None)
        self._others = others or ()
        self._asks = call.asks
        self._read = b""
        self._name, self._seen = "", ""

    def ask(self) -> None:
        assert self.sock
        if self._asks:
            for words in _WORDS if self._in_words else (_REQUESTS,):
                self.sock.send(words)

    def hear(self) -> bool:
        assert self.sock
        block = self.sock.recv(1 << 16)
        if block and self._in_words:
            return self._heard_word(block.decode(errors="replace"))
        self._read += block
        if not block and self._read:
            self._name, self._seen = _bodies(self._read)
        return not block

    @property
    def _in_words(self) -> bool:
        """Whether each message is a word, and each answer a message."""
        return self.kind == socket.SOCK_DGRAM or self.protocol == socket.IPPROTO_SCTP

    @property
    def content(self) -> bool:
        return self.kind == socket.SOCK_STREAM and not self._asks

    @property
    def moot(self) -> bool:
        return any(other.outcome is Outcome.TIMED_OUT for other in self._others)

    @property
    def empty(self) -> bool:
        """Whether the other end said nothing that we understand."""
        return not self._name and not self.content

    def result(self) -> Try:
        """What became of it."""
        assert self.outcome
        seen = IPv4Address(self._seen) if self._seen else None
        return Try(self.outcome, self._name, seen, self.detail, round(self.took * 1000, 3))

    def _heard_word(self, word: str) -> bool:
        if match := _ADDRESS.fullmatch(word):
            self._seen = match[1]
        else:
            self._name = word
        return bool(self._name and self._seen)


def _server(call: Call, *, alone: bool) -> tuple[Hashable | None, int]:
    """Whom a connection takes room from, and how much there is. All ways to a Service lead to the same servers."""
    if call.outcome is Outcome.REFUSED:
        # By ICMP, of which a host gets six at once and then one a second.
        return ("refusals", call.source), pace.ONE
    if call.asks:
        # agnhost has room for all, but what is asked again is asked gently.
        return call if alone else None, pace.ONE
    return (call.service, call.port_name), pace.ONE if alone else pace.FEW


def _bodies(read: bytes) -> tuple[str, str]:
    """Host name and client's address, out of the two answers."""
    found: list[str] = []
    while read:
        head, _, read = read.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        size = int(length[1]) if length else len(read)
        found.append(read[:size].decode(errors="replace").strip())
        read = read[size:]
    name, seen = (*found, "", "")[:2]
    match = _ADDRESS.fullmatch(seen)
    return name, match[1] if match else ""
