"""Clients in a namespace: a socket belongs to the namespace in which it was created, wherever this thread goes."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import time
from http.client import HTTPConnection, HTTPException
from json import loads
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nslab.dataclass import dataclass, field
from nslab.linux.netns import Namespaces
from nslab.linux.prober.sockets import IP_RECVERR, echo_request, socket_errors
from nslab.linux.prober.talk import OUTCOMES
from nslab.probes import Outcome
from nslab.pytest_plugin.address import LabAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AGAIN = 0.3  # seconds: the first packet may be lost while the kernel resolves a neighbour
_MTU_DISCOVER, _DO_NOT_CUT = 10, 3  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response. `source`: the client's address, `to`: the server's address and port.

    Both are the client's own view, before any NAT; `Host.seen_as` returns what the server saw.
    """

    status: int
    text: str
    headers: Mapping[str, str] = field(repr=False)
    source: LabAddress
    to: tuple[LabAddress, int]

    def json(self) -> Any:
        """Parse the text as JSON."""
        return loads(self.text)


@dataclass(frozen=True, slots=True)
class Reach:
    """The result of a ping or a connection: true if it was answered. `text`: the answer, or the error's sender."""

    outcome: Outcome
    text: str = ""
    source: LabAddress | None = None
    ms: float = 0.0

    def __bool__(self) -> bool:
        return self.outcome is Outcome.REACHED


def opened(ns: str, kind: int, protocol: int = 0) -> socket.socket:
    """Open a socket in a namespace."""
    with Namespaces() as spaces:
        spaces.enter(ns)
        return socket.socket(socket.AF_INET, kind, protocol)


def http(
    ns: str,
    resolve: Callable[[str], LabAddress],
    url: str,
    method: str,
    data: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
) -> Response:
    """Send one request over a connection of its own and return the response."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is not an address of the kind http://HOST:PORT/PATH")
    port = parts.port or 80
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    to = resolve(parts.hostname)
    connection = HTTPConnection(parts.hostname, port, timeout=timeout)
    with contextlib.closing(connection), opened(ns, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect((str(to), port))
            connection.sock = sock
            connection.request(method, path, data, {"Connection": "close", **headers})
            source = LabAddress(sock.getsockname()[0])
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except HTTPException as error:
            raise ConnectionError(f"{ns} -> {url} ({to}:{port}): {type(error).__name__} {error}") from error
        except OSError as error:
            error.add_note(f"{ns} -> {url} ({to}:{port})")
            raise
    return Response(answer.status, text, dict(answer.getheaders()), source, (to, port))


def tcp(ns: str, to: tuple[str, int], timeout: float) -> Reach:
    """Open and close a connection."""
    with opened(ns, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        began = time.monotonic()
        try:
            sock.connect(to)
        except OSError as error:
            return _failed(error)
        return Reach(Outcome.REACHED, "", LabAddress(sock.getsockname()[0]), _since(began))


def udp(ns: str, to: tuple[str, int], text: str, timeout: float) -> Reach:
    """Send a packet, again while no answer comes, and return the answer."""
    began = time.monotonic()
    with opened(ns, socket.SOCK_DGRAM) as sock:
        sock.settimeout(min(_AGAIN, timeout))
        while True:
            try:
                sock.connect(to)
                sock.send(text.encode())
                received = sock.recv(1 << 16).decode(errors="replace")
            except TimeoutError as error:
                if time.monotonic() - began >= timeout:
                    return _failed(error)
            except OSError as error:
                return _failed(error)
            else:
                return Reach(Outcome.REACHED, received, LabAddress(sock.getsockname()[0]), _since(began))


def ping(ns: str, to: LabAddress, size: int, timeout: float) -> Reach:
    """Send echo requests until a reply comes, and return it."""
    began, token = time.monotonic(), os.urandom(16)
    identity = int.from_bytes(token[:2], "big")
    with opened(ns, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        if size:
            sock.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _DO_NOT_CUT)
        try:
            sock.connect((str(to), 0))
            for number in range(1 + int(timeout / _AGAIN)):
                sock.send(echo_request(identity, number, token, size))
                until = min(began + (number + 1) * _AGAIN, began + timeout)
                while (left := until - time.monotonic()) > 0 and _ready(sock, left):
                    for _, failed, router in socket_errors(sock):
                        return Reach(OUTCOMES.get(failed, Outcome.UNREACHABLE), _words(failed, router))
                    packet = sock.recv(1 << 16)
                    start = (packet[0] & 15) * 4
                    if packet[start] == 0 and packet[start + 8 : start + 24] == token:
                        return Reach(Outcome.REACHED, "", LabAddress(sock.getsockname()[0]), _since(began))
        except OSError as error:
            return _failed(error)
    return Reach(Outcome.TIMED_OUT)


def _ready(sock: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)  # poll always reports POLLERR
    return bool(poll.poll(seconds * 1000))


def _failed(error: OSError) -> Reach:
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    return Reach(OUTCOMES.get(number, Outcome.UNREACHABLE), os.strerror(number))


def _words(number: int, router: str) -> str:
    return f"{os.strerror(number)}{f' (says {router})' if router else ''}"


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
