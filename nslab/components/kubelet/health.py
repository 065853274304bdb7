"""What probes say and what their results mean, as in the kubelet. Pure."""

from __future__ import annotations

from nslab.wire.http import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nslab.runtime.health_check import HealthCheck

GRPC_RESULTS = (0, 1)
"""The exit statuses of grpc_client.py that say something of the container."""
LONGEST = 10 * 1024
"""Bytes of an answer's body that the kubelet reads."""
LONGEST_HEADER = 1 << 16
"""Bytes of an answer's header that are read (Go reads 10 MiB)."""


class Health:
    """The health of a container; only several equal results in a row change it."""

    __slots__ = ("_last", "good", "run")

    def __init__(self, good: bool) -> None:
        self.good, self._last, self.run = good, good, 0

    def hear(self, check: HealthCheck, well: bool) -> None:
        """Take one answer into account."""
        self.run = self.run + 1 if well == self._last else 1
        self._last = well
        if self.run >= (check.successes if well else check.failures):
            self.good = well


def request(address: str, check: HealthCheck) -> bytes:
    """What the kubelet says to an HTTP server."""
    fields = {"Host": f"{address}:{check.port}", "User-Agent": "kube-probe/1.31", "Accept": "*/*"}
    own = {name.lower() for name, _ in check.headers}
    lines = [*((name, value) for name, value in fields.items() if name.lower() not in own), *check.headers]
    text = "".join(f"{name}: {value}\r\n" for name, value in (*lines, ("Connection", "close")) if value)
    return f"GET {check.path} HTTP/1.1\r\n{text}\r\n".encode()


def whole(answer: bytes) -> bool:
    """Whether an HTTP answer is complete, or as long as the kubelet reads."""
    end = _end_of_header(answer)
    if not end:
        return len(answer) >= LONGEST_HEADER
    head, body = answer[:end], answer[end:]
    fields = (line.partition(b":") for line in head.lower().splitlines()[1:])
    lengths = [value.strip() for name, _, value in fields if name.strip() == b"content-length"]
    wanted = number(lengths[0].decode("latin-1"), LONGEST) if lengths else 0
    return len(body) >= (wanted or 0)


def _end_of_header(answer: bytes) -> int:
    """Where the header ends; 0 if it does not. As for Go, lines may end without CR."""
    blank = (b"\n\n", b"\n\r\n")
    return min((at + len(line) for line in blank if (at := answer.find(line)) >= 0), default=0)


def complaint(answer: bytes) -> str:
    """The error in an HTTP answer; "" for a status from 200 to 399."""
    words = answer.partition(b"\n")[0].rstrip(b"\r").decode("latin-1").split(" ")
    code = number(words[1], 999) if len(words) > 1 and words[0].startswith("HTTP/") else None
    if code is None:
        return "malformed HTTP response"
    if not _end_of_header(answer):
        long = len(answer) >= LONGEST_HEADER
        return f"server response headers exceeded {LONGEST_HEADER} bytes; aborted" if long else "unexpected EOF"
    return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"


def outcome(check: HealthCheck, status: int | None, output: bytes) -> str:
    """The error in what a probe's process has left; "" without one. `status`: None if it took too long."""
    text = output.decode("utf-8", "replace")
    if status is None and check.kind == "grpc":
        return f"timeout: health rpc did not complete within {check.timeout:g}s"
    if status is None:
        return f'command "{" ".join(check.command)}" timed out after {check.timeout:g}s'
    return (text or f"command terminated with exit code {status}") if status else ""
