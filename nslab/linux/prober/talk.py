"""The state of one probe under way, and its timeouts."""

from __future__ import annotations

import errno
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.linux.timeouts import scaled
from nslab.probes import Expected, Kind, Outcome, Result

if TYPE_CHECKING:
    import socket

    from nslab.probes import Probe

CLIENTIP = b"GET /clientip HTTP/1.0\r\n\r\n"
OUTCOMES = {
    errno.ECONNREFUSED: Outcome.REFUSED,
    errno.EMSGSIZE: Outcome.TOO_BIG,
    errno.ETIMEDOUT: Outcome.TIMED_OUT,
}
"""The outcome of an errno; any other means UNREACHABLE."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Timeouts in seconds. `retry`: the first packet may be lost while the kernel resolves a neighbour.

    `lost_after`: how long a probe that must fail waits after all others are done, as nothing announces a lost packet.
    `goodbye`: how long a finished connection waits for the server's close.
    """

    deadline: float
    retry: float
    lost_after: float
    goodbye: float
    at_once: int = 512


DEFAULT = Timing(scaled(1.0), scaled(0.3), scaled(0.03), scaled(0.1))


class Talk:
    """One probe under way."""

    __slots__ = ("at", "began", "connected", "detail", "outcome", "probe", "read", "seen", "server", "sock", "took")

    def __init__(self, probe: Probe, server: tuple[str, int] | None) -> None:
        self.probe, self.server = probe, server
        self.began = 0.0
        self.at = ""
        self.seen: IPv4Address | None = None
        self.sock: socket.socket | None = None
        self.connected = False
        self.read = b""
        self.outcome: Outcome | None = None
        self.detail = ""
        self.took = 0.0

    @property
    def silence(self) -> str:
        """What is known of an answer that should have come, and did not."""
        hung = self.connected and self.probe.expected is not Expected.FAIL
        return "the connection was made, but the server says nothing" if hung else ""

    def result(self) -> Result:
        """The probe's result."""
        assert self.outcome
        return Result(self.probe, self.outcome, self.detail, self.at, self.seen, round(self.took * 1000, 3))


def server_of(probe: Probe, *, alone: bool) -> tuple[str, int] | None:
    """The server whose capacity a probe uses. agnhost takes any number, but the second run goes gently."""
    bounded = probe.kind is Kind.TCP and probe.port and (alone or not probe.asks)
    return (probe.target, probe.port) if bounded else None


def clientip(answer: bytes) -> IPv4Address | None:
    """The address in `IP:PORT`, the body of an answer to /clientip."""
    host, _, _ = answer.partition(b"\r\n\r\n")[2].decode(errors="replace").strip().rpartition(":")
    with suppress(ValueError):
        return IPv4Address(host.strip("[]").removeprefix("::ffff:"))
    return None
