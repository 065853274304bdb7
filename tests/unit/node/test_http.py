from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nslab.components.kubelet import health
from nslab.wire import http
from tests.slow import often


def test_a_request_comes_out_when_it_is_whole() -> None:
    data = bytearray(b"GET /a%20b?x=1&y=%C3%BC&z HTTP/1.1\r\nHost: h\r\n\r")
    assert http.take(data) is None
    data += b"\nGET / HT"
    request = http.take(data)
    assert request is not None
    assert (request.method, request.path, request.stays) == ("GET", "/a b", True)
    assert request.query == {"x": "1", "y": "ü", "z": ""}
    assert data == b"GET / HT"


@pytest.mark.parametrize(
    ("head", "stays"),
    [
        ("GET / HTTP/1.1", True),
        ("GET / HTTP/1.1\r\nConnection: close", False),
        ("GET / HTTP/1.0", False),
        ("GET / HTTP/1.0\r\nconnection: Keep-Alive", True),
    ],
)
def test_who_may_stay(head: str, stays: bool) -> None:
    request = http.take(bytearray(f"{head}\r\n\r\n".encode()))
    assert request is not None
    assert request.stays == stays


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / FTP/1\r\n\r\n",
        b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"x" * 70000,
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(http.MalformedRequestError):
        http.take(bytearray(data))


@pytest.mark.parametrize(
    ("text", "plain"),
    [("a%2Fb", "a/b"), ("%", "%"), ("%4", "%4"), ("%zz", "%zz"), ("%ff", "\N{REPLACEMENT CHARACTER}")],
)
def test_unquote(text: str, plain: str) -> None:
    assert http.unquote(text) == plain


def test_a_response_to_head_has_no_body_but_its_length() -> None:
    head, _, body = http.response(200, b"hello", stays=True, head=True).partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head
    assert body == b""


PIECES = st.sampled_from(
    [
        *(b"GET ", b"/", b" HTTP/1.1", b"HTTP/1.1 ", b"\r\n", b"\r\n\r\n", b":", b"%", b"?", b"=", b"\0"),
        *(b"Content-Length: ", b"Connection: ", b"Transfer-Encoding: chunked"),
        *(b"9" * 5000, b"-1", b"\xb2", b"\xd9\xa3", b"0x1", b"1e3"),
    ]
)


@settings(max_examples=often(500), deadline=None, database=None)
@given(st.lists(PIECES | st.binary(max_size=9), max_size=12).map(b"".join))
def test_whatever_comes_is_a_request_or_none(data: bytes) -> None:
    left = bytearray(data)
    with contextlib.suppress(http.MalformedRequestError):
        while http.take(left):
            pass
    health.whole(data)
    assert isinstance(health.complaint(data), str)
