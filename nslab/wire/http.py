"""The subset of HTTP/1.1 for a small server: pure, bytes in, requests and bytes out."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST = 1 << 16
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 412: "Precondition Failed", 501: "Not Implemented"}


class Request:
    """One request: method, path, the decoded query, and whether the connection may stay open after it."""

    def __init__(self, method: str, path: str, query: Mapping[str, str], stays: bool) -> None:
        self.method, self.path, self.query, self.stays = method, path, query, stays


class MalformedRequestError(ValueError):
    """Not HTTP, or an unsupported feature of it."""


def take(data: bytearray) -> Request | None:
    """Remove the first request from `data` and return it; None while it is incomplete. Raises MalformedRequestError."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > LONGEST:
            raise MalformedRequestError("header too long")
        return None
    first, *lines = data[:end].decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = number(headers.get("content-length", "0"), LONGEST)
    if "transfer-encoding" in headers or length is None:
        raise MalformedRequestError("a body that we do not read")
    if len(data) < end + 4 + length:
        return None
    del data[: end + 4 + length]
    try:
        method, target, version = first.split(" ")
    except ValueError:
        raise MalformedRequestError(first) from None
    if not version.startswith("HTTP/1."):
        raise MalformedRequestError(first)
    connection = headers.get("connection", "").lower()
    stays = connection == "keep-alive" if version == "HTTP/1.0" else connection != "close"
    path, _, query = target.partition("?")
    return Request(method, unquote(path), dict(_pairs(query)), stays)


def number(text: str, most: int) -> int | None:
    """An integer from 0 to `most` in ASCII digits; None for any other text."""
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        return None
    return int(text) if int(text) <= most else None


def _pairs(query: str) -> list[tuple[str, str]]:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return [(unquote(name.replace("+", " ")), unquote(value.replace("+", " "))) for name, _, value in pairs]


def unquote(text: str) -> str:
    """Percent-decode."""
    first, *rest = text.encode("latin-1").split(b"%")
    decoded = bytearray(first)
    for part in rest:
        try:
            decoded += bytes.fromhex(part[:2].decode("latin-1")) + part[2:] if len(part) >= 2 else b"%" + part
        except ValueError:
            decoded += b"%" + part
    return decoded.decode("utf-8", "replace")


def response(status: int, body: bytes, stays: bool, head: bool = False) -> bytes:
    """A complete response; without a body for a HEAD request."""
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
    lines = (
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}",
        f"Date: {date}",
        f"Content-Length: {len(body)}",
        "Content-Type: text/plain; charset=utf-8",
        "Connection: keep-alive" if stays else "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + (b"" if head else body)
