"""The event loop that runs conversations with Services, some at a time, from one thread."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nslab.linux.prober.attempts import Trial
from nslab.linux.prober.pace import Closing, Queue
from nslab.linux.prober.sockets import IP_RECVERR
from nslab.linux.prober.talk import OUTCOMES
from nslab.objects.names import netns
from nslab.probes import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.linux.netns import Namespaces
    from nslab.linux.prober.attempts import ProbeAttempt
    from nslab.linux.prober.talk import Timing

_AT_ONCE = 64
_REFUSALS = 3.5
"""How many deadlines a refusal may take. It comes as an ICMP error, which the kernel limits: six at once to a host,
then one a second, and none for a second after a hairpin packet, which counts as a redirect. TCP asks again after one
and three seconds, and then not for another four."""


class AttemptRunner:
    """Runs attempts, some at a time."""

    def __init__(self, spaces: Namespaces, lab: str, timing: Timing) -> None:
        self._spaces, self._lab, self._timing = spaces, lab, timing
        self._epoll = select.epoll()
        self._open: dict[int, ProbeAttempt] = {}
        self._queue: Queue[ProbeAttempt] = Queue(())
        self._closing = Closing(timing.goodbye)
        self._slowest = 0.0

    def close(self) -> None:
        """Close everything that is open."""
        self._closing.close()
        for attempt in self._open.values():
            if attempt.sock:
                attempt.sock.close()
        self._epoll.close()

    def run(self, attempts: Iterable[ProbeAttempt]) -> None:
        """Connect, read, resend and give up, until each attempt has an outcome."""
        self._queue = Queue((attempt, attempt.server, attempt.room) for attempt in attempts)
        while self._queue or self._open:
            while self._queue.ready and len(self._open) < _AT_ONCE:
                self._begin(self._queue.take())
            for descriptor, _ in self._epoll.poll(self._pause()):
                if attempt := self._open.get(descriptor):
                    self._progress(attempt)
                elif descriptor in self._closing:
                    self._queue.done(self._closing.heard(descriptor))
            self._overdue()
        self._closing.close()

    def _begin(self, attempt: ProbeAttempt) -> None:
        attempt.began = time.monotonic()
        if attempt.moot:
            self._finish(attempt, Outcome.TIMED_OUT)
            return
        attempt.again = attempt.began + self._timing.retry
        try:
            self._spaces.enter(netns(self._lab, attempt.source))
        except OSError as error:
            self._finish(attempt, Outcome.ABSENT, os.strerror(error.errno or 0))
            return
        sock = attempt.sock = socket.socket(socket.AF_INET, attempt.kind | socket.SOCK_NONBLOCK, attempt.protocol)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        # bind() chooses a port that no other open socket has here; connect() would choose one that is free towards this
        # Service only. IPVS matches answers by client and endpoint, so the first of two connections from one port would
        # get no more answers.
        sock.bind(("", 0))
        failed = sock.connect_ex(attempt.to)
        if failed not in (0, errno.EINPROGRESS):
            self._failed(attempt, failed)
            return
        self._open[sock.fileno()] = attempt
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _progress(self, attempt: ProbeAttempt) -> None:
        sock = attempt.sock
        assert sock
        try:
            if not attempt.asked:
                if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(failed, os.strerror(failed))
                attempt.asked = True
                attempt.ask()
                self._epoll.modify(sock.fileno(), select.EPOLLIN)
                if attempt.content:
                    self._finish(attempt, Outcome.REACHED)
            elif attempt.hear():
                silent = isinstance(attempt, Trial) and attempt.empty
                self._finish(attempt, Outcome.ENDED if silent else Outcome.REACHED)
        except BlockingIOError:
            pass
        except OSError as error:
            if attempt.asked and error.errno in (errno.ECONNRESET, errno.EPIPE):
                self._finish(attempt, Outcome.ENDED, error.strerror or "")
            else:
                self._failed(attempt, error.errno or 0)

    def _overdue(self) -> None:
        now = time.monotonic()
        for server in self._closing.overdue():
            self._queue.done(server)
        for attempt in [*self._open.values()]:
            waited = now - attempt.began
            if waited >= self._limit(attempt) and _hung(attempt) and not attempt.second:
                self._begin_again(attempt)
            elif waited >= self._limit(attempt):
                self._finish(attempt, Outcome.TIMED_OUT, "connected, but no answer" if _hung(attempt) else "")
            elif now >= attempt.again:
                attempt.again = now + self._timing.deadline
                self._say_again(attempt)

    def _say_again(self, attempt: ProbeAttempt) -> None:
        if attempt.kind == socket.SOCK_DGRAM:
            with suppress(OSError):  # the error of the first request is read in its turn
                attempt.ask()
        elif attempt.content and not attempt.refused:
            # TCP resends by itself. A lost SYN uses none of the server's capacity, so let the next attempt start.
            self._queue.done(attempt.server, silent=True)
            attempt.server = None

    def _begin_again(self, attempt: ProbeAttempt) -> None:
        """Start again from another port: for a while, IPVS may take the first port's answers for another Service's."""
        assert attempt.sock
        self._open.pop(attempt.sock.fileno(), None)
        attempt.sock.close()
        attempt.asked, attempt.second = False, True
        self._begin(attempt)

    def _limit(self, attempt: ProbeAttempt) -> float:
        if not attempt.must:
            return max(self._timing.lost_after, 2 * self._slowest)
        return self._timing.deadline * (_REFUSALS if attempt.refused else 1)

    def _pause(self) -> float:
        """Seconds until the next timeout."""
        now = time.monotonic()
        due = min((min(a.began + self._limit(a), a.again) for a in self._open.values()), default=math.inf)
        due = min(due, self._closing.due)
        return max(0.0, due - now) + 0.001 if due < math.inf else 0.0

    def _failed(self, attempt: ProbeAttempt, code: int) -> None:
        self._finish(attempt, OUTCOMES.get(code, Outcome.UNREACHABLE), os.strerror(code))

    def _finish(self, attempt: ProbeAttempt, outcome: Outcome, detail: str = "") -> None:
        attempt.outcome, attempt.detail = outcome, detail
        attempt.took = time.monotonic() - attempt.began
        if outcome is Outcome.REACHED:
            self._slowest = max(self._slowest, attempt.took)
        sock, attempt.sock = attempt.sock, None
        if sock:
            self._open.pop(sock.fileno(), None)
        if sock and outcome is Outcome.REACHED and attempt.content and self._queue.awaits(attempt.server):
            # The server has capacity for the next attempt only after it has closed the connection, too.
            self._closing.add(sock, attempt.server)
            self._epoll.modify(sock.fileno(), select.EPOLLIN)
        else:
            if sock:
                sock.close()
            self._queue.done(attempt.server, silent=outcome is Outcome.TIMED_OUT)


def _hung(attempt: ProbeAttempt) -> bool:
    return attempt.kind == socket.SOCK_STREAM and attempt.asked
