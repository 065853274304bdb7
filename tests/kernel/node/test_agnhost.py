"""The built-in server, asked over real sockets."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nodebench import Bench

pytestmark = pytest.mark.root


@pytest.fixture
def server(bench: Bench) -> Bench:
    bench.node()
    bench.start(bench.sandbox("pod-b"), bench.workload("pod-b", "app", "agnhost", "netexec", "--tcp-echo-port", "7"))
    return bench


def connect(server: Bench, port: int, kind: int = socket.SOCK_STREAM, host: str = "127.0.0.1") -> socket.socket:
    made: list[socket.socket] = []

    def make() -> None:
        made.append(socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind))
        made[0].settimeout(5)
        made[0].connect((host, port))

    server.inside("pod-b", make)
    return made[0]


def ask(peer: socket.socket, request: str) -> tuple[str, str]:
    """Status line and body; the connection stays open."""
    peer.sendall(request.encode())
    data = b""
    while b"\r\n\r\n" not in data:
        data += peer.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    while len(body) < int(headers["Content-Length"]) and not request.startswith("HEAD"):
        body += peer.recv(65536)
    return head.decode().split("\r\n")[0], body.decode()


def get(path: str) -> str:
    return f"GET {path} HTTP/1.1\r\nHost: pod-b\r\n\r\n"


def test_endpoints_on_one_connection(server: Bench) -> None:
    with connect(server, 8080) as peer:
        me = f"127.0.0.1:{peer.getsockname()[1]}"
        assert ask(peer, get("/hostname")) == ("HTTP/1.1 200 OK", "pod-b")
        assert ask(peer, get("/clientip")) == ("HTTP/1.1 200 OK", me)
        assert ask(peer, get("/echo?msg=Gr%C3%BC%C3%9Fe+%26+more")) == ("HTTP/1.1 200 OK", "Grüße & more")
        assert ask(peer, get("/echo?msg=x&code=418"))[0].startswith("HTTP/1.1 418 ")
        assert ask(peer, get("/healthz")) == ("HTTP/1.1 200 OK", "")
        assert ask(peer, get("/anything"))[1].startswith("NOW: 2")
        assert ask(peer, get("/shell?cmd=id"))[0] == "HTTP/1.1 404 Not Found"
        body = "POST /echo?msg=1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
        assert ask(peer, body) == ("HTTP/1.1 200 OK", "1")
        assert ask(peer, get("/hostname").replace("GET", "HEAD")) == ("HTTP/1.1 200 OK", "")


def test_closes_when_asked_and_on_nonsense(server: Bench) -> None:
    for request in ("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "nonsense\r\n\r\n"):
        with connect(server, 8080) as peer:
            ask(peer, request)
            assert peer.recv(1) == b""


def test_requests_in_pieces_and_pipelined(server: Bench) -> None:
    with connect(server, 8080) as peer:
        for byte in get("/hostname")[:-1]:
            peer.sendall(byte.encode())
        assert ask(peer, "\n") == ("HTTP/1.1 200 OK", "pod-b")
        peer.sendall((get("/echo?msg=one") + get("/echo?msg=two") + "GET / HTTP/1.0\r\n\r\n").encode())
        data = b""
        while block := peer.recv(65536):
            data += block
        assert data.index(b"one") < data.index(b"two") < data.index(b"NOW")


def test_answers_ipv6(server: Bench) -> None:
    with connect(server, 8080, host="::1") as peer:
        assert ask(peer, get("/clientip"))[1] == f"[::1]:{peer.getsockname()[1]}"


def test_udp(server: Bench) -> None:
    with connect(server, 8081, socket.SOCK_DGRAM) as peer:
        for request, answer in (
            ("hostname\n", "pod-b"),
            ("echo Hello", "hello"),
            ("clientip", f"127.0.0.1:{peer.getsockname()[1]}"),
        ):
            peer.send(request.encode())
            assert peer.recv(2048).decode() == answer


def test_tcp_echo(server: Bench) -> None:
    with connect(server, 7) as peer:
        data = bytes(range(256)) * 256
        peer.sendall(data)
        received = b""
        while len(received) < len(data):
            received += peer.recv(65536)
        assert received == data
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(1) == b""
