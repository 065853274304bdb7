"""Talking out of a namespace: sockets that are made in there belong to it, wherever this thread is later."""

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
from nslab.pytest_plugin.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_AGAIN = 0.3  # seconds: a first packet may be lost while link-layer addresses are asked for
_MTU_DISCOVER, _DO_NOT_CUT = 10, 3  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE


@dataclass(frozen=True, slots=True)
class Response:
    """A web server's answer. `source`: the address that it was asked from, `to`: the address that was asked.

    Both as the asker has them, before anybody translates; `seen_as` tells what the server saw.
    """

    status: int
    text: str
    headers: Mapping[str, str] = field(repr=False)
    source: Address
    to: tuple[Address, int]

    def json(self) -> Any:
        """The text, read as JSON."""
        return loads(self.text)


@dataclass(frozen=True, slots=True)
class Reach:
    """What became of a ping or a connection: true if it was answered. `text`: the answer, or who said no."""

    outcome: Outcome
    text: str = ""
    source: Address | None = None
    ms: float = 0.0

    def __bool__(self) -> bool:
        return self.outcome is Outcome.REACHED


def opened(ns: str, kind: int, protocol: int = 0) -> socket.socket:
    """A socket in a namespace."""
    with Namespaces() as spaces:
        spaces.enter(ns)
        return socket.socket(socket.AF_INET, kind, protocol)


def http(
    ns: str,
    resolve: Callable[[str], Address],
    url: str,
    method: str,
    data: bytes | None,
    headers: Mapping[str, str],
    timeout: float,
) -> Response:
    """One request, one answer, one connection."""
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
            source = Address(sock.getsockname()[0])
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        except HTTPException as error:
            raise ConnectionError(f"{ns} -> {url} ({to}:{port}): {type(error).__name__} {error}") from error
        except OSError as error:
            error.add_note(f"{ns} -> {url} ({to}:{port})")
            raise
    return Response(answer.status, text, dict(answer.getheaders()), source, (to, port))


def tcp(ns: str, to: tuple[str, int], timeout: float) -> Reach:
    """A connection, made and ended."""
    with opened(ns, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        began = time.monotonic()
        try:
            sock.connect(to)
        except OSError as error:
            return _failed(error)
        return Reach(Outcome.REACHED, "", Address(sock.getsockname()[0]), _since(began))


def udp(ns: str, to: tuple[str, int], text: str, timeout: float) -> Reach:
    """A question and its answer."""
    began = time.monotonic()
    with opened(ns, socket.SOCK_DGRAM) as sock:
        sock.settimeout(min(_AGAIN, timeout))
        while True:
            try:
                sock.connect(to)
                sock.send(text.encode())
                heard = sock.recv(1 << 16).decode(errors="replace")
            except TimeoutError as error:
                if time.monotonic() - began >= timeout:
                    return _failed(error)
            except OSError as error:
                return _failed(error)
            else:
                return Reach(Outcome.REACHED, heard, Address(sock.getsockname()[0]), _since(began))


def ping(ns: str, to: Address, size: int, timeout: float) -> Reach:
    """An echo request, sent again while nothing comes, and its reply."""
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
                        return Reach(Outcome.REACHED, "", Address(sock.getsockname()[0]), _since(began))
        except OSError as error:
            return _failed(error)
    return Reach(Outcome.TIMED_OUT)


def _ready(sock: socket.socket, seconds: float) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLIN)  # POLLERR is always told
    return bool(poll.poll(seconds * 1000))


def _failed(error: OSError) -> Reach:
    number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or 0
    return Reach(OUTCOMES.get(number, Outcome.UNREACHABLE), os.strerror(number))


def _words(number: int, router: str) -> str:
    return f"{os.strerror(number)}{f' (says {router})' if router else ''}"


def _since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
