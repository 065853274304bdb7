"""The program of one gRPC probe: `python -I grpc_client.py ADDRESS PORT SECONDS [SERVICE]`, on the node.

It asks grpc.health.v1.Health, prints what is wrong in the kubelet's words, and exits with 0 (serving), 1 (not), or 2 if
it could not ask. A process of its own, because h2 is not of the standard library, and for what a server may answer.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MISSING = "gRPC probes need the Python package h2: pip install 'nslab[grpc]'"
COULD_NOT_ASK = 2
"""The exit status if nothing was asked."""
LONGEST = 1 << 20
"""The most bytes of an answer."""
PAUSE = 0.1
"""Seconds between two attempts to connect."""
MEMORY = 256 << 20
"""The most bytes of memory."""
NOBODY = 65534
PATH = "/grpc.health.v1.Health/Check"
STATUSES = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
SERVING = 1
CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied",
    "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable",
    "DataLoss", "Unauthenticated",
)  # fmt: skip
"""gRPC's codes, by number."""
HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
"""The codes that statuses of HTTP stand for; Unknown for any other."""


def installed() -> bool:
    """Whether this Python has h2."""
    return importlib.util.find_spec("h2") is not None


def question(service: str) -> bytes:
    """A HealthCheckRequest, as a message of gRPC."""
    name = service.encode()
    length = bytes([len(name)]) if len(name) < 0x80 else bytes([len(name) & 0x7F | 0x80, len(name) >> 7])
    message = b"\x0a" + length + name if name else b""
    return b"\0" + len(message).to_bytes(4, "big") + message


def status(data: bytes) -> int | None:
    """The status in a HealthCheckResponse, as a message of gRPC; None for anything else."""
    message = data[5:]
    if data[:1] != b"\0" or int.from_bytes(data[1:5], "big") != len(message):
        return None
    if not message:
        return 0
    return message[1] if len(message) == 2 and message[0] == 0x08 and message[1] < 0x80 else None


def failure(code: int, text: str, seconds: float) -> str:
    """The kubelet's words for a call that failed."""
    match CODES[code] if 0 <= code < len(CODES) else f"Code({code})":
        case "Unimplemented":
            return f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {text}"
        case "DeadlineExceeded":
            return f"timeout: health rpc did not complete within {seconds:g}s"
        case name:
            return f"error: health rpc probe failed: rpc error: code = {name} desc = {text}"


def result(headers: Mapping[str, str], data: bytes, seconds: float) -> str:
    """What is wrong with an answer; "" if the service serves. `headers`: with the trailers."""
    http = headers.get(":status", "")
    if http != "200":
        what = f"unexpected HTTP status code received from server: {http}"
        return failure(HTTP.get(int(http), 2) if http.isdecimal() else 2, what, seconds)
    code = headers.get("grpc-status", "")
    if code != "0":
        from urllib.parse import unquote

        text = headers.get("grpc-message", "") if code.isdecimal() else f"malformed grpc-status: {code!r}"
        return failure(int(code) if code.isdecimal() else 13, unquote(text, errors="replace"), seconds)
    health = status(data)
    if health is None:
        return failure(13, "grpc: failed to unmarshal the received message", seconds)
    name = STATUSES[health] if health < len(STATUSES) else str(health)
    return "" if health == SERVING else f'service unhealthy (responded with "{name}")'


class HealthCall:
    """One call over one connection, as bytes in and bytes out (by h2)."""

    def __init__(self, authority: str, service: str, seconds: float) -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self._connection = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._authority, self._service, self._seconds = authority, service, seconds
        self._connection.initiate_connection()
        self.connected = self.over = False
        self.headers: dict[str, str] = {}
        self.data = b""

    def output(self) -> bytes:
        """What is to be sent."""
        sent: bytes = self._connection.data_to_send()
        return sent

    def take(self, block: bytes) -> None:
        """Handle received bytes. The server is connected when it has said its settings; then the call begins."""
        from h2 import events

        for event in self._connection.receive_data(block):
            match event:
                case events.RemoteSettingsChanged() if not self.connected:
                    self.connected = True
                    self._ask()
                case events.ResponseReceived() | events.TrailersReceived():
                    self.headers |= {str(name): str(value) for name, value in event.headers or ()}
                case events.DataReceived():
                    self.data += event.data or b""
                    self._connection.acknowledge_received_data(event.flow_controlled_length or 0, 1)
                case events.StreamEnded() | events.StreamReset() | events.ConnectionTerminated():
                    self.over = True
                case _:
                    pass

    def _ask(self) -> None:
        fields = {
            ":method": "POST", ":scheme": "http", ":path": PATH, ":authority": self._authority,
            "content-type": "application/grpc", "user-agent": "kube-probe/1.31", "te": "trailers",
            "grpc-timeout": f"{int(self._seconds * 1000)}m",
        }  # fmt: skip
        self._connection.send_headers(1, list(fields.items()))
        self._connection.send_data(1, question(self._service), end_stream=True)


def probe(address: str, port: int, seconds: float, service: str) -> str:
    """Ask a server, for at most so many seconds; return what is wrong, or ""."""
    deadline, where = time.monotonic() + seconds, f"{address}:{port}"
    while (left := deadline - time.monotonic()) > 0:
        call = HealthCall(where, service, left)
        try:
            return exchange(call, address, port, deadline, seconds)
        except Exception as error:  # of the network, or h2's, of what the server said
            if isinstance(error, TimeoutError) and call.connected:
                return failure(4, "", seconds)
            if call.connected:
                return failure(14, f"error reading from server: {error}", seconds)
        # As gRPC does, until the time is up.
        time.sleep(max(0.0, min(PAUSE, deadline - time.monotonic())))
    return f'timeout: failed to connect service "{where}" within {seconds:g}s: context deadline exceeded'


def exchange(call: HealthCall, address: str, port: int, deadline: float, seconds: float) -> str:
    """Make a call over a new connection; return what is wrong, or "". TimeoutError at the deadline."""
    received = 0
    with socket.socket(socket.AF_INET) as peer:
        peer.settimeout(_left(deadline))
        peer.connect((address, port))
        while not call.over:
            peer.settimeout(_left(deadline))
            peer.sendall(call.output())
            block = peer.recv(1 << 14)
            received += len(block)
            if not block or received > LONGEST:
                raise ConnectionError("EOF" if not block else "the answer is too long")
            call.take(block)
    if not call.headers:
        raise ConnectionError("the stream was reset")
    return result(call.headers, call.data, seconds)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def drop_rights() -> None:
    """Keep nothing that a server could gain by what it answers."""
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def main(arguments: list[str]) -> int:
    """Probe, and print what is wrong."""
    address, port, seconds, *service = arguments
    try:
        import h2.connection
        import h2.events  # noqa: F401 - before its files cannot be read any more
    except ImportError:
        print(MISSING, end="")
        return COULD_NOT_ASK
    drop_rights()
    wrong = probe(address, int(port), float(seconds), "".join(service))
    print(wrong, end="")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
