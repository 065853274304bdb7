"""The conversations with Services: DNS lookups and connections, and how their answers are read."""

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

# Two requests on one connection: the server's name, and the client address that it sees. HTTP/1.0 ends the connection.
_REQUESTS = b"GET /hostname HTTP/1.1\r\nHost: probe\r\n\r\nGET /clientip HTTP/1.0\r\n\r\n"
_WORDS = (b"hostname", b"clientip")
_ADDRESS = re.compile(r"\[?(?:::ffff:)?([\d.]+)\]?:\d+")


class ProbeAttempt:
    """One conversation. `must`: an answer is expected (`refused`: a refusal); silence is awaited for a shorter time.

    `server`: the key of the server whose capacity it uses; `room`: that server's capacity at first.
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
        """Whether an established connection is enough."""
        return False

    @property
    def moot(self) -> bool:
        """Whether another attempt has already decided the result."""
        return False

    def ask(self) -> None:
        """Send the request. Called when connected, and (over UDP) again if no answer came."""
        raise NotImplementedError

    def hear(self) -> bool:
        """Read what came; return whether the answer is complete."""
        raise NotImplementedError


class Lookup(ProbeAttempt):
    """A lookup of a name in the cluster's DNS."""

    kind = socket.SOCK_DGRAM

    def __init__(self, call: Call, dns: IPv4Address) -> None:
        super().__init__(call.source, (str(dns), 53))
        self._call, self._dns = call, dns
        self._name, self._number = call.name, int.from_bytes(os.urandom(2), "big")
        self.addresses: tuple[IPv4Address, ...] = ()
        self._code = ""

    def repeated(self) -> Lookup:
        """The same lookup, for a second run with fewer at a time."""
        lookup = Lookup(self._call, self._dns)
        lookup.server = lookup.to
        return lookup

    @property
    def reported(self) -> str:
        """The DNS error instead of an address."""
        return self._code if self.outcome is Outcome.REACHED else str(self.outcome)

    def ask(self) -> None:
        assert self.sock
        self.sock.send(dns_client.query(self._number, self._name))

    def hear(self) -> bool:
        assert self.sock
        answer = dns_client.answer(self.sock.recv(4096), self._number)
        if answer:
            self.addresses, self._code = answer
        return answer is not None


class Trial(ProbeAttempt):
    """One connection of a call. `others`: in a second run, the trials before it; a silent one makes this one moot."""

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
        """Whether the server sent nothing that we understand."""
        return not self._name and not self.content

    def result(self) -> Try:
        """The outcome as a value."""
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
    """The key of the server whose capacity a connection uses, and that capacity. All ways to a Service lead to the
    same servers."""
    if call.outcome is Outcome.REFUSED:
        # Refusals come as ICMP errors, which the kernel limits: six at once to a host, then one a second.
        return ("refusals", call.source), pace.ONE
    if call.asks:
        # agnhost takes any number, but the second run goes gently.
        return call if alone else None, pace.ONE
    return (call.service, call.port_name), pace.ONE if alone else pace.FEW


def _bodies(read: bytes) -> tuple[str, str]:
    """Host name and client address from the two answers."""
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
