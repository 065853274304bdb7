"""The built-in image kubedns: the name server behind dnsmasq, as in kube-dns. It knows the cluster, and nobody else.

It answers from RUN/LAB/dns/records.json, {"domain": …, "services": […]}, at which it looks for each query: who writes
it (to a file beside it, then renamed) need not know of us, and who asks gets what is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import sys

from nslab import rundir, syscall
from nslab.components.images.agnhost import TcpPeer, accept, fail, log, quietly
from nslab.components.images.dns_records import Records
from nslab.components.runtime.loop import AT_ONCE, Loop
from nslab.wire import dns as dns_wire
from nslab.wire import http
from nslab.wire.dns import Answer, MalformedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Never

FILE = "records.json"
PORT = 10053


def folder(run: str) -> int:
    """A descriptor of the folder in which the records of the lab are, or will be; nothing else is reached from it."""
    os.makedirs(f"{run}/{rundir.DNS}", exist_ok=True)
    tree = syscall.open_tree(f"{run}/{rundir.DNS}")
    hard = syscall.MOUNT_ATTR_NOSUID | syscall.MOUNT_ATTR_NODEV | syscall.MOUNT_ATTR_NOEXEC
    syscall.seal(tree, syscall.MOUNT_ATTR_RDONLY | hard)
    return tree


def main(arguments: Sequence[str], report: int = -1, records: int = -1) -> Never:
    """Be kubedns until a signal comes; say `ready` on the descriptor `report` once it listens."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # as PID 1 we get only signals that we have a handler for
    loop, zone = Loop(), RecordsFile(records)
    try:
        port = parse(arguments)
        serve(loop, zone, *_bind(port))
    except OSError as error:
        fail(f"--dns-port: {error.strerror}", report)
    except ValueError as error:
        fail(str(error), report)
    log(f"Ready to answer on 127.0.0.1:{port}")
    if report >= 0:
        quietly()
        os.write(report, b"ready\n")
        os.close(report)
    while True:
        loop.turn()


def parse(arguments: Sequence[str]) -> int:
    """The port that the flags say."""
    port = str(PORT)
    for word in arguments:
        name, equals, port = word.partition("=")
        if name != "--dns-port" or not equals:
            raise ValueError(f"unknown flag: {word}")
    if not (number := http.number(port, 65535)):
        raise ValueError(f"--dns-port: {port[:60]} is no port")
    return number


class RecordsFile:
    """The records as the file in a folder has them now. What cannot be read changes nothing."""

    def __init__(self, records: int) -> None:
        self._folder = records
        self._seen: tuple[int, int] = (0, 0)
        self._records: Records | None = None

    def now(self) -> Records | None:
        """The records; None if there never were any."""
        if self._folder < 0:
            return None
        with contextlib.suppress(OSError):
            found = os.stat(FILE, dir_fd=self._folder)
            # Another file of the same moment has another number: the old one is there until it is replaced.
            if (found.st_mtime_ns, found.st_ino) != self._seen:
                self._read()
        return self._records

    def _read(self) -> None:
        file = os.open(FILE, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
        with open(file, "rb") as opened:
            found = os.fstat(file)
            text = opened.read()
        self._seen = found.st_mtime_ns, found.st_ino
        try:
            self._records = Records(json.loads(text), found.st_mtime_ns // 1_000_000_000)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log(f"{FILE}: {type(error).__name__}: {error}; the records are those of before")


def respond(data: bytes, zone: RecordsFile, limit: int) -> bytes | None:
    """The answer to a message, at most `limit` bytes (0: what its sender takes over UDP); None: none at all."""
    try:
        number, flags = dns_wire.header(data)
    except MalformedError:
        return None  # an answer to an answer could go on for ever
    try:
        asked = dns_wire.question(data)
    except MalformedError:
        return dns_wire.refusal(number, flags, dns_wire.FORMERR)
    try:
        dns_wire.read_extras(data, asked)
    except MalformedError:
        return dns_wire.refusal(number, flags, dns_wire.FORMERR, asked.wire)
    return dns_wire.response(asked, _answer(asked, zone), limit or asked.size)


def _answer(asked: dns_wire.Question, zone: RecordsFile) -> Answer:
    if asked.edns > 0:
        return Answer(dns_wire.BADVERS)
    if asked.opcode:
        return Answer(dns_wire.NOTIMP)
    if asked.group not in (dns_wire.IN, dns_wire.ANY) or asked.kind in dns_wire.TRANSFERS:
        return Answer(dns_wire.REFUSED)
    records = zone.now()
    # Before the first records are there, "no such name" would be a lie: who hears of a failure asks again.
    if records is None:
        return Answer(dns_wire.SERVFAIL)
    try:
        return records.answer(asked.name, asked.kind)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # What is wrong with one Service must not be the end of the names of all.
        log(f"{'.'.join(asked.name)!r}: {type(error).__name__}: {error}")
        return Answer(dns_wire.SERVFAIL)


def _bind(port: int) -> tuple[socket.socket, socket.socket]:
    """The sockets on the loopback: UDP and TCP."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    udp.bind(("127.0.0.1", port))
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(128)
    return udp, listener


def serve(loop: Loop, zone: RecordsFile, udp: socket.socket, listener: socket.socket) -> None:
    """Answer the queries that come to two sockets."""
    loop.watch(udp.fileno(), lambda: _answer_udp(udp, zone))
    accept(loop, listener, lambda peer: Peer(loop, peer, zone))


def _answer_udp(udp: socket.socket, zone: RecordsFile) -> None:
    with contextlib.suppress(OSError):
        for _ in range(AT_ONCE):
            data, sender = udp.recvfrom(dns_wire.LONGEST)
            if answer := respond(data, zone, 0):
                udp.sendto(answer, sender)


class Peer(TcpPeer):
    """Questions on one connection, each with its length before it."""

    block = 1 << 12

    def __init__(self, loop: Loop, peer: socket.socket, zone: RecordsFile) -> None:
        super().__init__(loop, peer)
        self._zone = zone

    def take(self) -> None:
        """Answer every whole question; who sends something else is hung up on."""
        while len(self.input) > 1 and not self.ended:
            (size,) = struct.unpack_from("!H", self.input)
            if len(self.input) < 2 + size:
                break
            answer = respond(bytes(self.input[2 : 2 + size]), self._zone, dns_wire.LONGEST)
            del self.input[: 2 + size]
            if answer:
                self.output += struct.pack("!H", len(answer)) + answer
            else:
                self.ended = True


if __name__ == "__main__":
    main(sys.argv[1:])
