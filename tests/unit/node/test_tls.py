"""TLS of HTTPS probes: bytes in and bytes out, against OpenSSL's own server side."""

from __future__ import annotations

import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab.components.kubelet.tls import TlsClient, text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    """A server whose certificate nobody has signed, and for another name."""
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-subj", "/CN=another", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_a_request_and_its_answer_whoever_signed_the_certificate(server: ssl.SSLContext) -> None:
    received, sent = ssl.MemoryBIO(), ssl.MemoryBIO()
    peer, session = server.wrap_bio(received, sent, server_side=True), TlsClient(b"GET /")
    output, answer = session.take(b"")
    heard = b""
    for _ in range(10):
        received.write(output)
        try:
            peer.do_handshake()
            heard += peer.read()
            peer.write(b"HTTP/1.1 200 OK\r\n")
        except ssl.SSLWantReadError:
            pass
        # Byte by byte: records arrive in parts.
        output = b""
        for byte in sent.read():
            more, clear = session.take(bytes([byte]))
            output, answer = output + more, answer + clear
        if answer:
            break
    assert (heard, answer) == (b"GET /", b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("spoken", "wrong"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "http: server gave HTTP response to HTTPS client"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "tls: first record does not look like a TLS handshake"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "remote error: tls: handshake failure"),
    ],
)
def test_what_is_no_tls_is_called_so(spoken: bytes, wrong: str) -> None:
    session = TlsClient(b"GET /")
    session.take(b"")
    with pytest.raises(ValueError, match=f"^{wrong}$"):
        session.take(spoken)


def test_a_reason_without_words() -> None:
    assert text("", b"") == "tls: handshake failure"
