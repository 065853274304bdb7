"""The built-in image kubedns: the name server behind dnsmasq, as in kube-dns. It knows only the cluster's names.

It answers from RUN/LAB/dns/records.json, {"domain": …, "services": […]}, and checks the file for each query, so that
control, which replaces it atomically, need not notify it.
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
from nslab.components.images.dns_records import Records
from nslab.components.images.serving import TcpPeer, accept, fail, log, quietly
from nslab.components.runtime.loop import AT_ONCE, Loop
from nslab.runtime.handlers import handle
from nslab.wire import dns as dns_wire
from nslab.wire import http
from nslab.wire.dns import DnsResponse, MalformedQueryError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Never

FILE = "records.json"
PORT = 10053


def folder(run: str) -> int:
    """A descriptor of the folder of the lab's records, as a detached read-only mount: it leads nowhere else."""
    os.makedirs(f"{run}/{rundir.DNS}", exist_ok=True)
    tree = syscall.open_tree(f"{run}/{rundir.DNS}")
    hard = syscall.MOUNT_ATTR_NOSUID | syscall.MOUNT_ATTR_NODEV | syscall.MOUNT_ATTR_NOEXEC
    syscall.seal(tree, syscall.MOUNT_ATTR_RDONLY | hard)
    return tree


def main(arguments: Sequence[str], report: int = -1, records: int = -1) -> Never:
    """Run kubedns until a signal comes; write `ready` to the descriptor `report` when it listens."""
    for number in (signal.SIGTERM, signal.SIGINT):
        handle(number, lambda *_: os._exit(0))  # PID 1 gets only signals that it has a handler for
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
    """Parse the flags and return the port."""
    port = str(PORT)
    for word in arguments:
        name, equals, port = word.partition("=")
        if name != "--dns-port" or not equals:
            raise ValueError(f"unknown flag: {word}")
    if not (number := http.number(port, 65535)):
        raise ValueError(f"--dns-port: {port[:60]} is not a port")
    return number


class RecordsFile:
    """The current records of the file in a folder. An unreadable file leaves the records as they are."""

    def __init__(self, records: int) -> None:
        self._folder = records
        self._seen: tuple[int, int] = (0, 0)
        self._records: Records | None = None

    def now(self) -> Records | None:
        """The records; None if the file has never existed."""
        if self._folder < 0:
            return None
        with contextlib.suppress(OSError):
            found = os.stat(FILE, dir_fd=self._folder)
            # A new file with the same mtime has another inode, since the old one exists until the rename.
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
            log(f"{FILE}: {type(error).__name__}: {error}; keeping the old records")


def respond(data: bytes, zone: RecordsFile, limit: int) -> bytes | None:
    """Answer a message in at most `limit` bytes (0: what its sender accepts over UDP); None for no answer."""
    try:
        number, flags = dns_wire.header(data)
    except MalformedQueryError:
        return None  # answering an answer could loop for ever
    try:
        question = dns_wire.question(data)
    except MalformedQueryError:
        return dns_wire.refusal(number, flags, dns_wire.FORMERR)
    try:
        dns_wire.read_extras(data, question)
    except MalformedQueryError:
        return dns_wire.refusal(number, flags, dns_wire.FORMERR, question.wire)
    return dns_wire.response(question, _answer(question, zone), limit or question.size)


def _answer(question: dns_wire.Question, zone: RecordsFile) -> DnsResponse:
    if question.edns > 0:
        return DnsResponse(dns_wire.BADVERS)
    if question.opcode:
        return DnsResponse(dns_wire.NOTIMP)
    if question.group not in (dns_wire.IN, dns_wire.ANY) or question.kind in dns_wire.TRANSFERS:
        return DnsResponse(dns_wire.REFUSED)
    records = zone.now()
    # Without records NXDOMAIN would be wrong, and cached; after SERVFAIL the client asks again.
    if records is None:
        return DnsResponse(dns_wire.SERVFAIL)
    try:
        return records.answer(question.name, question.kind)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        # A malformed Service must not break the names of all others.
        log(f"{'.'.join(question.name)!r}: {type(error).__name__}: {error}")
        return DnsResponse(dns_wire.SERVFAIL)


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
    accept(loop, listener, lambda peer: DnsPeer(loop, peer, zone))


def _answer_udp(udp: socket.socket, zone: RecordsFile) -> None:
    with contextlib.suppress(OSError):
        for _ in range(AT_ONCE):
            data, sender = udp.recvfrom(dns_wire.LONGEST)
            if answer := respond(data, zone, 0):
                udp.sendto(answer, sender)


class DnsPeer(TcpPeer):
    """DNS over TCP: each message follows its length."""

    block = 1 << 12

    def __init__(self, loop: Loop, peer: socket.socket, zone: RecordsFile) -> None:
        super().__init__(loop, peer)
        self._zone = zone

    def take(self) -> None:
        """Answer all complete questions; close the connection after a malformed one."""
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
