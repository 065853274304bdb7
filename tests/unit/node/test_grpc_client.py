"""gRPC probes: the messages, the kubelet's words, and a call against h2's own server side."""

from __future__ import annotations

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived
from hypothesis import given
from hypothesis import strategies as st

from nslab.components.kubelet.grpc_client import HealthCall, failure, question, result, status
from nslab.components.kubelet.health import outcome
from nslab.runtime.health_check import HealthCheck

OK = {":status": "200", "grpc-status": "0"}


def health(number: int) -> bytes:
    return b"\0\0\0\0\x02\x08" + bytes([number])


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("", b"\0\0\0\0\0"),
        ("shop", b"\0\0\0\0\x06\x0a\x04shop"),
        ("x" * 200, b"\0\0\0\0\xcb\x0a\xc8\x01" + b"x" * 200),
    ],
)
def test_what_is_asked(service: str, message: bytes) -> None:
    assert question(service) == message


@pytest.mark.parametrize(
    ("message", "number"),
    [
        (health(1), 1), (health(2), 2), (b"\0\0\0\0\0", 0), (b"", None), (b"\1" + health(1)[1:], None),
        (health(1)[:-1], None), (health(1) + b"x", None), (b"\0\0\0\0\x02\x10\x01", None), (health(0x80), None),
    ],
)  # fmt: skip
def test_a_status_and_nothing_else_is_read(message: bytes, number: int | None) -> None:
    assert status(message) == number


@pytest.mark.parametrize(
    ("headers", "data", "wrong"),
    [
        (OK, health(1), ""),
        (OK, health(2), 'service unhealthy (responded with "NOT_SERVING")'),
        (OK, health(0), 'service unhealthy (responded with "UNKNOWN")'),
        (OK, health(3), 'service unhealthy (responded with "SERVICE_UNKNOWN")'),
        (OK, health(9), 'service unhealthy (responded with "9")'),
        (
            {":status": "200", "grpc-status": "5", "grpc-message": "unknown%20service"}, b"",
            "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service",
        ),
        (
            {":status": "200", "grpc-status": "12", "grpc-message": "unknown service x"}, b"",
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown service x",
        ),
        ({":status": "200", "grpc-status": "4"}, b"", "timeout: health rpc did not complete within 1s"),
        (
            {":status": "503"}, b"",
            failure(14, "unexpected HTTP status code received from server: 503", 1),
        ),
        (
            {":status": "200"}, health(1),
            "error: health rpc probe failed: rpc error: code = Internal desc = malformed grpc-status: ''",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_answer(headers: dict[str, str], data: bytes, wrong: str) -> None:
    assert result(headers, data, 1) == wrong


def test_a_code_that_nobody_knows() -> None:
    assert failure(99, "x", 1) == "error: health rpc probe failed: rpc error: code = Code(99) desc = x"


@given(st.dictionaries(st.sampled_from([":status", "grpc-status", "grpc-message"]), st.text(max_size=9)), st.binary())
def test_an_answer_of_any_kind_serves_or_is_wrong(headers: dict[str, str], data: bytes) -> None:
    assert isinstance(result(headers, data, 1), str)


def test_a_call() -> None:
    server = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
    server.initiate_connection()
    call = HealthCall("20.96.0.7:5000", "shop", 1.5)
    asked: dict[str, str] = {}
    said = b""
    for _ in range(9):
        for event in server.receive_data(call.output()):
            match event:
                case RequestReceived():
                    asked = {str(name): str(value) for name, value in event.headers or ()}
                case DataReceived():
                    said += event.data or b""
                case _:
                    pass
        if said and not call.over:
            server.send_headers(1, [(":status", "200"), ("content-type", "application/grpc")])
            server.send_data(1, health(1))
            server.send_headers(1, [("grpc-status", "0")], end_stream=True)
        call.take(server.data_to_send())
        if call.over:
            break
    assert (asked[":path"], asked["te"], asked["grpc-timeout"]) == ("/grpc.health.v1.Health/Check", "trailers", "1500m")
    assert said == question("shop")
    assert result(call.headers, call.data, 1) == ""


def test_what_a_process_leaves() -> None:
    check = HealthCheck("grpc", 5000, timeout=2)
    assert outcome(check, 0, b"") == ""
    assert outcome(check, 1, b"x") == "x"
    assert outcome(check, None, b"") == "timeout: health rpc did not complete within 2s"
