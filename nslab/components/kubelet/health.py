"""The kubelet's readiness and liveness probes, from the node's network namespace."""

from __future__ import annotations

import errno
import os
import socket
import time

from nslab.components.runtime.loop import WRITE
from nslab.wire.http import number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.components.runtime.loop import Loop
    from nslab.runtime.health_check import HealthCheck

    Ran = Callable[[int | None, bytes], None]
    Run = Callable[[list[str], float, Ran], None]

LONGEST = 10 * 1024
"""Bytes of an answer that the kubelet reads."""


class Verdict:
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
    head, end, body = answer.partition(b"\r\n\r\n")
    fields = (line.partition(b":") for line in head.lower().split(b"\r\n")[1:])
    lengths = [value.strip() for name, _, value in fields if name.strip() == b"content-length"]
    wanted = number(lengths[0].decode("latin-1"), LONGEST) if lengths else 0
    return len(answer) >= LONGEST or (bool(end) and len(body) >= (wanted or 0))


def complaint(answer: bytes) -> str:
    """The error in an HTTP answer; "" for a status from 200 to 399."""
    words = answer.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    code = number(words[1], 999) if len(words) > 1 and words[0].startswith("HTTP/") else None
    if code is None:
        return "malformed HTTP response"
    return "" if 200 <= code < 400 else f"HTTP probe failed with statuscode: {code}"


class Prober:
    """Runs one probe of one container periodically. Calls `news` with the error of each result, or ""."""

    __slots__ = ("_again", "_answer", "_check", "_loop", "_news", "_number", "_place", "_run", "_socket", "_stopped")

    def __init__(
        self, loop: Loop, address: str, check: HealthCheck, news: Callable[[HealthCheck, str], None], run: Run
    ) -> None:
        """`run`: runs a command in the container, so many seconds at most, and calls what it is given."""
        self._loop, self._place, self._check, self._news, self._run = loop, check.host or address, check, news, run
        self._socket: socket.socket | None = None
        self._answer, self._number, self._stopped, self._again = b"", 0, False, 0.0

    def begin(self, delay: float) -> None:
        """Run the first probe after its initial delay; without one after `delay` seconds, or at `hasten`."""
        self._loop.at(time.monotonic() + (self._check.initial_delay or delay), self._first)

    def hasten(self) -> None:
        """Run the first probe now: the container answers."""
        if not self._check.initial_delay:
            self._first()

    def stop(self) -> None:
        """Run no more probes."""
        self._stopped = True
        self._close()

    def _first(self) -> None:
        if not self._number:
            self._ask()

    def _ask(self) -> None:
        if self._stopped:
            return
        now = time.monotonic()
        # One at a time: if an answer takes longer than a period, the next probe starts after this one.
        self._again = now + self._check.period
        self._number += 1
        number = self._number
        if self._check.kind == "exec":
            self._run([*self._check.command], self._check.timeout, lambda *how: self._ran(number, *how))
            return
        if not self._check.port:
            self._end("the container has no port of the name that the probe asks for")
            return
        # Created in the node's network namespace: as on a real node, the probe tests the route to the pod, too.
        kind = socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        try:
            self._socket = socket.socket(socket.AF_INET, kind)
        except OSError as error:  # out of descriptors
            self._end(error.strerror or str(error))
            return
        self._loop.at(now + self._check.timeout, lambda: self._late(number))
        status = self._socket.connect_ex((self._place, self._check.port))
        if status in (0, errno.EINPROGRESS):
            self._loop.watch(self._socket.fileno(), self._connected, WRITE)
        else:
            self._refused(status)

    def _ran(self, number: int, status: int | None, output: bytes) -> None:
        if self._stopped or number != self._number:
            return
        said = output.decode("utf-8", "replace")
        if status is None:
            said = f'command "{" ".join(self._check.command)}" timed out after {self._check.timeout:g}s'
        elif status and not said:
            said = f"command terminated with exit code {status}"
        self._end(said if status != 0 else "")

    def _connected(self) -> None:
        if not self._socket:
            return
        status = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            self._refused(status)
        elif self._check.kind == "tcpSocket":
            self._end("")
        else:
            self._loop.watch(self._socket.fileno(), self._read)
            try:
                self._socket.send(request(self._place, self._check), socket.MSG_NOSIGNAL)
            except OSError as error:
                self._refused(error.errno or errno.EIO)

    def _read(self) -> None:
        if not self._socket:
            return
        try:
            block = self._socket.recv(LONGEST)
        except BlockingIOError:
            return
        except OSError as error:
            self._refused(error.errno or errno.EIO)
            return
        self._answer += block
        if not self._answer:
            self._end(f"{self._asked()}: EOF")
        elif not block or whole(self._answer):
            self._end(complaint(self._answer))

    def _late(self, number: int) -> None:
        if self._socket and number == self._number:
            self._end(
                f"{self._asked()}: context deadline exceeded"
                if self._check.kind == "httpGet"
                else f"dial tcp {self._place}:{self._check.port}: i/o timeout"
            )

    def _refused(self, status: int) -> None:
        dialled = f"dial tcp {self._place}:{self._check.port}: connect: {os.strerror(status).lower()}"
        self._end(f"{self._asked()}: {dialled}" if self._check.kind == "httpGet" else dialled)

    def _asked(self) -> str:
        return f'Get "http://{self._place}:{self._check.port}{self._check.path}"'

    def _end(self, wrong: str) -> None:
        self._close()
        self._loop.at(max(self._again, time.monotonic()), self._ask)
        self._news(self._check, wrong)

    def _close(self) -> None:
        self._answer = b""
        if self._socket:
            self._loop.forget(self._socket.fileno())
            self._socket.close()
            self._socket = None
