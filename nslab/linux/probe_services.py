"""Asks Services what `nslab.probes.services` wants to know: connections out of every namespace, from one thread.

First names are looked up, each by the pod that uses it; then all is asked that must be refused, then what must be
answered; then, by themselves, the many connections that show how answers are spread (others would take turns of
theirs); last, what must be silence.
"""

from __future__ import annotations

import errno
import math
import os
import re
import select
import socket
import time
from collections import deque
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.linux import probe_dns
from nslab.linux.probe import DEFAULT, OUTCOMES
from nslab.linux.probe_sockets import IP_RECVERR
from nslab.net.names import netns
from nslab.probes import Outcome
from nslab.probes.calls import Call, CallResult, Try

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nslab.linux.netns import Namespaces
    from nslab.linux.probe import Timing
    from nslab.probes.services import ServiceSurvey

_AT_ONCE = 64
_REFUSALS = 5
"""Deadlines that a refusal has. It comes by ICMP, of which a host gets six at once and then one a second, and none for
a second after a packet that came back to where it came from (hairpin): the kernel counts that as a redirect."""
# Both on one connection: who answers, and whom he sees. The answer to the second ends it.
_REQUESTS = b"GET /hostname HTTP/1.1\r\nHost: probe\r\n\r\nGET /clientip HTTP/1.0\r\n\r\n"
_WORDS = (b"hostname", b"clientip")
_ADDRESS = re.compile(r"\[?(?:::ffff:)?([\d.]+)\]?:\d+")


def ask_services(
    spaces: Namespaces,
    lab: str,
    survey: ServiceSurvey,
    dns: IPv4Address | None,
    timing: Timing = DEFAULT,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[CallResult]:
    """The answers, in the order of the questions, those about the spread last."""
    asking = _Asking(spaces, lab, timing)
    questions = (*survey.calls, *survey.spread)
    try:
        names = {(call.source, call.name): _Lookup(call, dns) for call in questions if call.name and dns}
        asking.run([*names.values()])
        tries = {call: [_Try(call, to) for to in _targets(call, names)] for call in questions}
        rounds = (
            [t for call in survey.calls for t in tries[call] if t.refused],
            [t for call in survey.calls for t in tries[call] if t.must and not t.refused],
            [t for call in survey.spread for t in tries[call]],
            [t for call in survey.calls for t in tries[call] if not t.must],
        )
        for done, attempts in enumerate(rounds):
            asking.run(attempts)
            progress(done + 1, len(rounds))
    finally:
        asking.close()
        spaces.home()
    return [_result(call, tries[call], names.get((call.source, call.name))) for call in questions]


def _targets(call: Call, names: dict[tuple[str, str], _Lookup]) -> Iterator[IPv4Address]:
    """Where each connection goes: for a name, where DNS says."""
    found = names[call.source, call.name].addresses if call.name else call.addresses
    for turn in range(call.times if found else 0):
        yield found[turn % len(found)]


def _result(call: Call, tries: Iterable[_Try], lookup: _Lookup | None) -> CallResult:
    said = ""
    if lookup:
        wrong = {*lookup.addresses} != {*call.addresses}
        said = f"DNS: {lookup.said}" if lookup.said else ""
        if wrong and not said:
            said = f"DNS says {', '.join(map(str, sorted(lookup.addresses)))}"
    return CallResult(call, tuple(one.result() for one in tries), said)


class _Attempt:
    """One conversation. `must`: something has to come of it (`refused`: a no); silence is awaited for less long."""

    kind, protocol = socket.SOCK_STREAM, 0
    must = True
    refused = False

    def __init__(self, source: str, to: tuple[str, int]) -> None:
        self.source, self.to = source, to
        self.sock: socket.socket | None = None
        self.began = self.again = self.took = 0.0
        self.asked = self.second = False
        self.outcome: Outcome | None = None
        self.detail = ""

    def ask(self) -> None:
        """Say what is to be said. Called when connected, and (over UDP) again when nothing came."""
        raise NotImplementedError

    def hear(self) -> bool:
        """Read what came; whether that is all."""
        raise NotImplementedError


class _Lookup(_Attempt):
    """A name, asked of the cluster's DNS."""

    kind = socket.SOCK_DGRAM

    def __init__(self, call: Call, dns: IPv4Address) -> None:
        super().__init__(call.source, (str(dns), 53))
        self._name, self._number = call.name, int.from_bytes(os.urandom(2), "big")
        self.addresses: tuple[IPv4Address, ...] = ()
        self._code = ""

    @property
    def said(self) -> str:
        """What DNS said instead of an address."""
        return self._code if self.outcome is Outcome.REACHED else str(self.outcome)

    def ask(self) -> None:
        assert self.sock
        self.sock.send(probe_dns.query(self._number, self._name))

    def hear(self) -> bool:
        assert self.sock
        heard = probe_dns.answer(self.sock.recv(4096), self._number)
        if heard:
            self.addresses, self._code = heard
        return heard is not None


class _Try(_Attempt):
    """One connection of a call."""

    def __init__(self, call: Call, address: IPv4Address) -> None:
        super().__init__(call.source, (str(address), call.port))
        self.kind = socket.SOCK_DGRAM if call.protocol == "UDP" else socket.SOCK_STREAM
        self.protocol = socket.IPPROTO_SCTP if call.protocol == "SCTP" else 0
        self.must = call.outcome is not Outcome.TIMED_OUT and not call.lost
        self.refused = call.outcome is Outcome.REFUSED
        self._asks = call.asks
        self._read = b""
        self._name, self._seen = "", ""

    def ask(self) -> None:
        assert self.sock
        if self._asks:
            for words in _WORDS if self._in_words else (_REQUESTS,):
                self.sock.send(words)

    def hear(self) -> bool:
        assert self.sock
        block = self.sock.recv(1 << 16)
        if block and self._in_words:
            return self._heard_word(block.decode(errors="replace"))
        self._read += block
        if not block and self._read:
            self._name, self._seen = _bodies(self._read)
        return not block

    @property
    def _in_words(self) -> bool:
        """Whether each message is a word, and each answer a message."""
        return self.kind == socket.SOCK_DGRAM or self.protocol == socket.IPPROTO_SCTP

    @property
    def content(self) -> bool:
        """Whether it is enough that the connection was made."""
        return self.kind == socket.SOCK_STREAM and not self._asks

    @property
    def empty(self) -> bool:
        """Whether the other end said nothing that we understand."""
        return not self._name and not self.content

    def result(self) -> Try:
        """What became of it."""
        assert self.outcome
        seen = IPv4Address(self._seen) if self._seen else None
        return Try(self.outcome, self._name, seen, self.detail, round(self.took * 1000, 3))

    def _heard_word(self, word: str) -> bool:
        if match := _ADDRESS.fullmatch(word):
            self._seen = match[1]
        else:
            self._name = word
        return bool(self._name and self._seen)


class _Asking:
    """The loop that drives attempts, some at a time."""

    def __init__(self, spaces: Namespaces, lab: str, timing: Timing) -> None:
        self._spaces, self._lab, self._timing = spaces, lab, timing
        self._epoll = select.epoll()
        self._open: dict[int, _Attempt] = {}
        self._slowest = 0.0

    def close(self) -> None:
        """Close whatever is open."""
        for attempt in self._open.values():
            if attempt.sock:
                attempt.sock.close()
        self._epoll.close()

    def run(self, attempts: Iterable[_Attempt]) -> None:
        """Begin, listen, say it again, give up, until each has an outcome."""
        waiting = deque(attempts)
        while waiting or self._open:
            while waiting and len(self._open) < _AT_ONCE:
                self._begin(waiting.popleft())
            for descriptor, _ in self._epoll.poll(self._pause()):
                if attempt := self._open.get(descriptor):
                    self._progress(attempt)
            self._overdue()

    def _begin(self, attempt: _Attempt) -> None:
        attempt.began = time.monotonic()
        # TCP sends again by itself.
        attempt.again = attempt.began + self._timing.retry if attempt.kind == socket.SOCK_DGRAM else math.inf
        try:
            self._spaces.enter(netns(self._lab, attempt.source))
        except OSError as error:
            self._finish(attempt, Outcome.ABSENT, os.strerror(error.errno or 0))
            return
        sock = attempt.sock = socket.socket(socket.AF_INET, attempt.kind | socket.SOCK_NONBLOCK, attempt.protocol)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        # A port that no other open socket has here. connect() would choose one that is free towards this Service only;
        # IPVS knows answers by client and endpoint, so the first of two connections from one port hears nothing more.
        sock.bind(("", 0))
        failed = sock.connect_ex(attempt.to)
        if failed not in (0, errno.EINPROGRESS):
            self._failed(attempt, failed)
            return
        self._open[sock.fileno()] = attempt
        self._epoll.register(sock.fileno(), select.EPOLLOUT)

    def _progress(self, attempt: _Attempt) -> None:
        sock = attempt.sock
        assert sock
        try:
            if not attempt.asked:
                if failed := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                    raise OSError(failed, os.strerror(failed))
                attempt.asked = True
                attempt.ask()
                self._epoll.modify(sock.fileno(), select.EPOLLIN)
                if isinstance(attempt, _Try) and attempt.content:
                    self._finish(attempt, Outcome.REACHED)
            elif attempt.hear():
                silent = isinstance(attempt, _Try) and attempt.empty
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
        for attempt in [*self._open.values()]:
            waited = now - attempt.began
            if waited >= self._limit(attempt) and _hung(attempt) and not attempt.second:
                self._begin_again(attempt)
            elif waited >= self._limit(attempt):
                self._finish(attempt, Outcome.TIMED_OUT, "connected, but no answer" if _hung(attempt) else "")
            elif now >= attempt.again and attempt.asked:
                attempt.again = now + self._timing.deadline
                with suppress(OSError):  # what was said of the first one is heard in its turn
                    attempt.ask()

    def _begin_again(self, attempt: _Attempt) -> None:
        """Once more, from another port: IPVS may remember the first one's answers as another Service's for a while."""
        assert attempt.sock
        self._open.pop(attempt.sock.fileno(), None)
        attempt.sock.close()
        attempt.asked, attempt.second = False, True
        self._begin(attempt)

    def _limit(self, attempt: _Attempt) -> float:
        if not attempt.must:
            return max(self._timing.patience, 2 * self._slowest)
        return self._timing.deadline * (_REFUSALS if attempt.refused else 1)

    def _pause(self) -> float:
        """Seconds until something must be done even if nothing comes."""
        now = time.monotonic()
        due = min((min(a.began + self._limit(a), a.again) for a in self._open.values()), default=now)
        return max(0.0, due - now) + 0.001

    def _failed(self, attempt: _Attempt, code: int) -> None:
        self._finish(attempt, OUTCOMES.get(code, Outcome.UNREACHABLE), os.strerror(code))

    def _finish(self, attempt: _Attempt, outcome: Outcome, detail: str = "") -> None:
        attempt.outcome, attempt.detail = outcome, detail
        attempt.took = time.monotonic() - attempt.began
        if outcome is Outcome.REACHED:
            self._slowest = max(self._slowest, attempt.took)
        if attempt.sock:
            self._open.pop(attempt.sock.fileno(), None)
            attempt.sock.close()
            attempt.sock = None


def _hung(attempt: _Attempt) -> bool:
    return attempt.kind == socket.SOCK_STREAM and attempt.asked


def _bodies(read: bytes) -> tuple[str, str]:
    """Host name and client's address, out of the two answers."""
    found: list[str] = []
    while read:
        head, _, read = read.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        size = int(length[1]) if length else len(read)
        found.append(read[:size].decode(errors="replace").strip())
        read = read[size:]
    name, seen = (*found, "", "")[:2]
    match = _ADDRESS.fullmatch(seen)
    return name, match[1] if match else ""
