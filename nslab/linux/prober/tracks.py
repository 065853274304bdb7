"""One conversation that is repeated to be followed: its socket, and how its packets are told from others."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import struct
import sys
import termios
from contextlib import suppress
from typing import TYPE_CHECKING

from nslab.linux.prober.sockets import IP_RECVERR, echo_request
from nslab.probes import Kind
from nslab.probes.evidence import What
from nslab.wire import dns_client, icmp, packets

if TYPE_CHECKING:
    from nslab.probes.evidence import Conversation
    from nslab.wire.packets import DecodedPacket

_MTU_DISCOVER, _PROBE = 10, 3
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ = 19, 20, 21
_SEND_QUEUE, _OFF_WITHOUT_PROBE = 2, -1
_DATA = b"GET / HTTP/1.0\r\n\r\n"
_DNS = 53
_UDP = 20 + 8
"""The bytes of its headers."""
_WORD = b"echo "
"""Before the random bytes of a datagram: agnhost answers with what follows."""


class Track:
    """A conversation. `open` in the source's namespace; then `hear` until it is over."""

    def __init__(self, question: Conversation) -> None:
        self.question = question
        self.token = os.urandom(8).hex().encode()
        self.sock: socket.socket | None = None
        self.error = ""
        self.over = self.heard = self._sent = False
        name = f"{self.token.decode()}.cluster.local"
        padding = b"." * (question.size - _UDP - len(_WORD) - len(self.token))
        self._datagram = dns_client.query(1, name) if question.port == _DNS else _WORD + self.token + padding
        self._sequence = int.from_bytes(os.urandom(4), "big") or 1
        self._identity = int.from_bytes(os.urandom(2), "big") or 1  # conntrack knows an echo by it

    @property
    def events(self) -> int:
        """The events to wait for."""
        return select.POLLOUT if self.question.kind is Kind.TCP and not self._sent else select.POLLIN

    @property
    def settled(self) -> bool:
        """Whether the other end has answered, and has acknowledged whatever was sent to it since."""
        if not self.over or self.error or not self.sock:
            return False
        return self.question.kind is not Kind.TCP or not _unacknowledged(self.sock)

    def open(self) -> None:
        """Send the first packet. The kernel's refusal becomes `error`."""
        try:
            self._send()
        except OSError as error:
            if error.errno != errno.EINPROGRESS:
                self.error, self.over = os.strerror(error.errno or 0), True

    def close(self) -> None:
        """Close the socket."""
        if self.sock:
            self.sock.close()

    def abort(self) -> None:
        """Close the socket; a TCP connection at once, by a reset."""
        if self.sock:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def hear(self) -> None:
        """Read what came: any answer ends the conversation, but a TCP connection must say something."""
        assert self.sock
        if self.question.kind is Kind.TCP:
            self._connected()
            return
        try:
            data = self.sock.recv(1 << 11)
        except BlockingIOError:
            return
        except OSError as error:
            self.error, self.over = os.strerror(error.errno or 0), True
            return
        self.over = self.question.kind is Kind.UDP or self.token in data

    def what(self, packet: DecodedPacket) -> What | None:
        """What a packet is in this conversation; None if it is another's."""
        if packet.quoted:
            return What.ERROR if self.what(packet.quoted) else None
        match self.question.kind:
            case Kind.TCP:
                return self._segment(packet)
            case Kind.UDP:
                if packet.protocol != packets.UDP or self.token not in packet.payload:
                    return None
                # A tap has no more than the beginning of a long one.
                return What.REQUEST if self._datagram.startswith(packet.payload) else What.REPLY
        if packet.protocol != packets.ICMP or self.token not in packet.payload:
            return None
        return What.REQUEST if packet.code[0] == icmp.ECHO else What.REPLY

    @property
    def signs(self) -> list[tuple[What, int, bytes]]:
        """By what its packets are known: bytes, and their place from the TCP, UDP or ICMP header on."""
        if self.question.kind is Kind.TCP:
            first = self._sequence.to_bytes(4, "big")
            return [(What.REQUEST, 4, first), (What.REPLY, 8, ((self._sequence + 1) & 0xFFFFFFFF).to_bytes(4, "big"))]
        if self.question.kind is Kind.UDP:
            place = 8 + self._datagram.index(self.token)
            answered = place if self.question.port == _DNS else 8
            return [(What.REQUEST, place, self.token), (What.REPLY, answered, self.token)]
        return [(What.REQUEST, 8, self.token), (What.REPLY, 8, self.token)]

    def _segment(self, packet: DecodedPacket) -> What | None:
        if packet.protocol != packets.TCP:
            return None
        if packet.sequence == self._sequence and not packet.acknowledges:
            return What.REQUEST
        if packet.acknowledges != (self._sequence + 1) & 0xFFFFFFFF:
            return None
        if packet.reset:
            return What.RESET
        return What.REPLY if packet.opens else None

    def _send(self) -> None:
        to = (str(self.question.address), self.question.port)
        if self.question.kind is Kind.TCP:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            _choose_sequence(self.sock, self._sequence)
            self.sock.connect(to)
        elif self.question.kind is Kind.UDP:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            if self.question.size:
                self.sock.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _PROBE)
            self.sock.connect(to)
            self.sock.send(self._datagram)
        else:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.IPPROTO_ICMP)
            mask = struct.pack("=I", 0xFFFFFFFF ^ (1 << icmp.ECHO_REPLY))
            self.sock.setsockopt(icmp.SOL_RAW, icmp.FILTER, mask)
            self.sock.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _PROBE)
            self.sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            self.sock.connect((to[0], 0))
            self.sock.send(echo_request(self._identity, 1, self.token, self.question.size))

    def _connected(self) -> None:
        assert self.sock
        if failed := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.error, self.over = os.strerror(failed), True
            return
        with suppress(OSError):  # it may not be connected yet
            if not self._sent:
                self._sent = bool(self.sock.send(_DATA))
                self.over = not self.question.asks
            self.heard = self.over = bool(self.sock.recv(1 << 11)) or self.over


def _choose_sequence(sock: socket.socket, number: int) -> None:
    """Have a connection begin with a sequence number (see TCP_REPAIR in Linux's tcp.h)."""
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, 1)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, _SEND_QUEUE)
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ, struct.pack("=I", number))
    sock.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _OFF_WITHOUT_PROBE)


def _unacknowledged(sock: socket.socket) -> int:
    """The bytes that the other end has not acknowledged."""
    return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
