"""TLS of HTTPS probes, as bytes in and bytes out: like the kubelet it verifies nothing. Imported for the first one."""

from __future__ import annotations

import ssl

_CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_CONTEXT.check_hostname = False
_CONTEXT.verify_mode = ssl.CERT_NONE
_BLOCK = 1 << 14
"""Bytes of the longest TLS record."""


class TlsClient:
    """A client's side of one connection, which says one request."""

    def __init__(self, request: bytes) -> None:
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = _CONTEXT.wrap_bio(self._received, self._to_send)
        self._request, self._first = request, b""

    def take(self, block: bytes) -> tuple[bytes, bytes]:
        """Handle received bytes (b"" at first); return bytes to send, and decrypted ones. ValueError on failure."""
        self._first = self._first or block[:5]
        self._received.write(block)
        answer = b""
        try:
            if self._request:
                self._tls.do_handshake()
                self._tls.write(self._request)
                self._request = b""
            while data := self._tls.read(_BLOCK):
                answer += data
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            raise ValueError(text(error.reason or "", self._first)) from error
        return self._to_send.read(), answer


def text(reason: str, first: bytes) -> str:
    """Go's words for a reason of OpenSSL. `first`: the first bytes that the server sent."""
    if first == b"HTTP/":
        return "http: server gave HTTP response to HTTPS client"
    if reason in ("WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"):
        return "tls: first record does not look like a TLS handshake"
    _, is_alert, alert = reason.partition("_ALERT_")
    words = (alert or reason or "handshake failure").lower().replace("_", " ")
    return f"remote error: tls: {words}" if is_alert else f"tls: {words}"
