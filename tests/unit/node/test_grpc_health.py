"""`agnhost grpc-health-checking`, asked by the kubelet's own client and by h2."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import PingAckReceived, ResponseReceived, StreamEnded, TrailersReceived
from hypothesis import given
from hypothesis import strategies as st

from nslab.components.images import agnhost, serving
from nslab.components.images.grpc_health import FLAGS, GrpcPeer, ServingStatus, asked
from nslab.components.kubelet.grpc_client import probe, question
from nslab.components.runtime.loop import Loop
from nslab.wire import http2

if TYPE_CHECKING:
    from collections.abc import Iterator


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return bytes(http2.Http2Frame(kind, flags, stream, body))


class Server:
    """The service on a port of this machine's loopback, in a thread."""

    def __init__(self, service: str = "", delay: int = -1) -> None:
        self.health, self._loop = ServingStatus(service, delay), Loop()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        serving.accept(self._loop, self._listener, lambda peer: GrpcPeer(self._loop, peer, self.health))
        self._reader, self._writer = socket.socketpair()
        self._goes_on = True
        self._loop.watch(self._reader.fileno(), self._stop)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _stop(self) -> None:
        self._goes_on = False

    def _run(self) -> None:
        while self._goes_on:
            self._loop.turn()

    def close(self) -> None:
        """End the thread."""
        self._writer.send(b".")
        self._thread.join()
        for sock in (self._listener, self._reader, self._writer):
            sock.close()

    def asked(self, service: str = "") -> str:
        """What the kubelet's client finds wrong."""
        return probe("127.0.0.1", self.port, 5.0, service)


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server("shop")
    yield made
    made.close()


def test_the_kubelet_asks(server: Server) -> None:
    assert server.asked("shop") == ""
    server.health.forced = True
    assert server.asked("shop") == 'service unhealthy (responded with "NOT_SERVING")'
    wrong = "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"
    assert (server.asked(), server.asked("x" * 200)) == (wrong, wrong)


def test_it_becomes_unhealthy_in_time() -> None:
    never, later, at_once = (ServingStatus("", delay).check("") for delay in (-1, 60, 0))
    assert (never, later, at_once) == (1, 1, 2)
    assert ServingStatus("a", -1).check("") is None


def calls(server: Server, *paths: str, service: str = "shop") -> list[dict[str, str]]:
    """The headers of the answers to calls one after the other on one connection; the second is all indexes."""
    client = H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    found: list[dict[str, str]] = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
        for number, path in enumerate(paths):
            stream = 2 * number + 1
            headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
            client.send_headers(stream, list(headers.items()))
            client.send_data(stream, question(service), end_stream=True, pad_length=3)
            client.ping(b"12345678")
            peer.sendall(client.data_to_send())
            got: dict[str, str] = {}
            over, alive = False, False
            while not (over and alive):
                block = peer.recv(1 << 14)
                assert block, got
                for event in client.receive_data(block):
                    if isinstance(event, ResponseReceived | TrailersReceived):
                        got |= {str(name): str(value) for name, value in event.headers or ()}
                    over = over or isinstance(event, StreamEnded)
                    alive = alive or isinstance(event, PingAckReceived)
                peer.sendall(client.data_to_send())
            found.append(got)
    return found


def test_calls_on_one_connection(server: Server) -> None:
    check, watch = "/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"
    found = calls(server, check, check, watch, "/grpc.reflection.v1.Reflection/Info", "/grpc.health.v1.Health/None")
    assert [(one["grpc-status"], one.get("grpc-message", "")) for one in found] == [
        ("0", ""), ("0", ""), ("12", "unimplemented"), ("12", "unknown service grpc.reflection.v1.Reflection"),
        ("12", "unknown method None for service grpc.health.v1.Health"),
    ]  # fmt: skip
    assert {one[":status"] for one in found} == {"200"}


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        http2.PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        http2.PREFACE + frame(http2.HEADERS, http2.END_HEADERS, 1, b"\x80"),
        http2.PREFACE + frame(http2.HEADERS, http2.PADDED, 1, b"\x09a"),
        http2.PREFACE + frame(http2.CONTINUATION, 0, 1, b""),
        http2.PREFACE + frame(http2.HEADERS, 0, 1, b"") + frame(http2.PING, 0, 0, bytes(8)),
        http2.PREFACE + frame(http2.HEADERS, 0, 1, b"") * 2,
        http2.PREFACE + b"".join(frame(http2.HEADERS, 4, 2 * n + 1, b"") for n in range(101)),
    ],
)
def test_who_breaks_the_rules_is_sent_away(server: Server, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as peer:
        peer.sendall(sent)
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(1 << 14):
                pass
    assert server.asked("shop") == "", "others are served"


@given(st.text(max_size=300))
def test_a_question_is_read_as_it_was_asked(service: str) -> None:
    if len(service.encode("utf-8", "replace")) < 1 << 14:
        assert asked(question(service)) == service


@given(st.binary(max_size=20))
def test_any_bytes_are_a_question_or_none(data: bytes) -> None:
    assert asked(data) is None or isinstance(asked(data), str)


def test_flags() -> None:
    assert agnhost.parse(["--port=5001", "--service", "a b"], FLAGS) == {**FLAGS, "port": 5001, "service": "a b"}
    with pytest.raises(ValueError, match="unknown flag: --udp-port"):
        agnhost.parse(["--udp-port=1"], FLAGS)
