"""One round of probes: packets from every namespace at once, from one thread, until each has an outcome."""

from __future__ import annotations

import errno
import math
import os
import select
import socket
import struct
import time
from contextlib import suppress
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.linux.prober import pace
from nslab.linux.prober.handlers import Handlers
from nslab.linux.prober.marks import ProbeMarks
from nslab.linux.prober.pending import Pending
from nslab.linux.prober.sockets import IP_RECVERR, HostSockets, received, socket_errors
from nslab.linux.prober.talk import CLIENTIP, OUTCOMES, Talk, clientip, server_of
from nslab.objects.names import netns
from nslab.probes import Expected, Kind, Outcome, Result
from nslab.wire import icmp

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from nslab.linux.netns import Namespaces
    from nslab.linux.prober.talk import Timing
    from nslab.probes import Probe, ProbeHost

_RESET_ON_CLOSE = struct.pack("=ii", 1, 0)
_BURST = 16  # packets to send before reading answers
_ANSWER = b"!"


class Round:
    """All probes of one round, and their event loop. `alone`: each server gets one client at a time."""

    def __init__(
        self, spaces: Namespaces, lab: str, timing: Timing, probes: Sequence[Probe], *, alone: bool = False
    ) -> None:
        self._spaces, self._lab, self._timing = spaces, lab, timing
        self._talks = [Talk(probe, server_of(probe, alone=alone)) for probe in probes]
        # Probes that must fail go last: by then the neighbours that they need are resolved.
        order = sorted(range(len(probes)), key=lambda number: probes[number].expected is Expected.FAIL)
        room = {number: pace.SOME if probes[number].asks else pace.ONE if alone else pace.FEW for number in order}
        self._queue = pace.Queue((number, self._talks[number].server, room[number]) for number in order)
        self._marks = ProbeMarks(len(probes))
        self._hosts: dict[str, HostSockets] = {}
        self._accepted: set[socket.socket] = set()
        self._handlers = Handlers()
        self._pending = Pending(timing)
        self._closing = pace.Closing(timing.goodbye)

    def open(self, places: Iterable[ProbeHost]) -> None:
        """Open sockets in every namespace that takes part and exists."""
        wanted = {name for talk in self._talks for name in talk.probe.pair}
        for place in places:
            if place.name in wanted:
                try:
                    self._spaces.enter(netns(self._lab, place.name))
                except OSError as error:
                    if error.errno not in (errno.ENOENT, errno.EINVAL):  # no such name; a name without a mount
                        raise
                else:
                    self._listen(place.name, HostSockets(place.address))

    def close(self) -> None:
        """Close everything that is open."""
        self._closing.close()
        for host in self._hosts.values():
            for sock in host.sockets():
                sock.close()
        for sock in (*self._accepted, *(talk.sock for talk in self._talks if talk.sock)):
            sock.close()
        self._handlers.close()

    def results(self) -> list[Result]:
        """Send, receive, resend and give up; return the results in the order of the probes."""
        while self._queue or self._pending:
            for _ in range(_BURST):
                if self._may_begin:
                    number = self._queue.take()
                    self._begin(number, self._talks[number])
            self._handlers.turn(0 if self._may_begin else self._until_due())
            self._again()
            self._give_up()
        self._handlers.turn(0)  # the prober may read an answer before it sees the request at its target
        return [talk.result() for talk in self._talks]

    @property
    def _may_begin(self) -> bool:
        return self._queue.ready and len(self._pending) < self._timing.at_once

    def _begin(self, number: int, talk: Talk) -> None:
        probe, talk.began = talk.probe, time.monotonic()
        for name in probe.pair:
            if name not in self._hosts:
                self._finish(number, Outcome.ABSENT, f"there is no {netns(self._lab, name)}")
                return
        self._pending.begin(number, talk)
        if probe.kind is Kind.TCP:
            self._connect(number, talk)
        else:
            self._send(number, talk)

    def _send(self, number: int, talk: Talk) -> None:
        probe, host = talk.probe, self._hosts[talk.probe.source]
        if probe.kind is Kind.UDP:
            sock, data, to = host.asker, self._marks.of(number), self._hosts[probe.target].udp
        else:
            sock, data, to = host.echo, self._marks.echo(number, probe.size), (str(probe.address), 0)
        refused = 0
        for _ in range(3):
            try:
                sock.sendto(data, to)
            except BlockingIOError:
                return  # the buffer is full: the packet is lost like any other, and sent again
            except OSError as error:
                # All probes share the socket, so the error may be an earlier packet's.
                self._errors(sock)
                refused = error.errno or 0
            else:
                return
        self._failed(number, refused, "")

    def _connect(self, number: int, talk: Talk) -> None:
        probe = talk.probe
        self._spaces.enter(netns(self._lab, probe.source))
        sock = talk.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        to = (str(probe.address), probe.port) if probe.port else self._hosts[probe.target].tcp
        if not probe.port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        failed = sock.connect_ex(to)
        if failed not in (0, errno.EINPROGRESS):
            self._failed(number, failed, "")
            return
        self._handlers.add(sock, select.EPOLLOUT, lambda events: self._progress(number, talk, events))

    def _listen(self, name: str, host: HostSockets) -> None:
        self._hosts[name] = host
        self._handlers.add(host.echo, select.EPOLLIN, lambda events: self._on_echo(name, host.echo, events))
        self._handlers.add(host.asker, select.EPOLLIN, lambda events: self._on_answer(host.asker, events))
        self._handlers.add(host.answerer, select.EPOLLIN, lambda _: self._on_question(name, host.answerer))
        self._handlers.add(host.listener, select.EPOLLIN, lambda _: self._on_connection(name, host.listener))

    def _on_echo(self, name: str, sock: socket.socket, events: int) -> None:
        if events & select.EPOLLERR:
            self._errors(sock)
        for packet, (sender, _) in received(sock):
            start = (packet[0] & 15) * 4
            number = self._marks.number(packet[start + 8 :])
            if number is None:
                continue
            if packet[start] == icmp.ECHO:
                self._arrived(number, name, sender)
            elif name == self._talks[number].probe.source:
                self._finish(number, Outcome.REACHED)

    def _on_question(self, name: str, sock: socket.socket) -> None:
        for data, sender in received(sock):
            number = self._marks.number(data)
            if number is not None:
                self._arrived(number, name, sender[0])
                with suppress(OSError):  # no route back: the probe times out
                    sock.sendto(data + _ANSWER, sender)

    def _on_answer(self, sock: socket.socket, events: int) -> None:
        if events & select.EPOLLERR:
            self._errors(sock)
        for data, _ in received(sock):
            number = self._marks.number(data)
            if number is not None and data.endswith(_ANSWER):
                self._finish(number, Outcome.REACHED)

    def _on_connection(self, name: str, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock, sender = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                self._accepted.add(sock)
                self._await_mark(name, sock, sender)

    def _await_mark(self, name: str, sock: socket.socket, sender: tuple[str, int]) -> None:
        self._handlers.add(sock, select.EPOLLIN, lambda _: self._greeted(name, sock, sender))

    def _greeted(self, name: str, sock: socket.socket, sender: tuple[str, int]) -> None:
        with suppress(OSError):
            number = self._marks.number(sock.recv(64))
            if number is not None:
                self._arrived(number, name, sender[0])
                self._finish(number, Outcome.REACHED)
        self._accepted.discard(sock)
        self._handlers.drop(sock)

    def _progress(self, number: int, talk: Talk, events: int) -> None:
        """Handle an event of a connection: established, refused, or an answer."""
        sock = talk.sock
        assert sock
        if events & (select.EPOLLERR | select.EPOLLHUP) and not talk.connected:
            queued = next(socket_errors(sock), None)
            failed = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._failed(number, failed or (queued[1] if queued else errno.ECONNREFUSED), queued[2] if queued else "")
        elif not talk.connected:
            talk.connected = True
            self._connected(number, talk, sock)
        else:
            self._answered(number, talk, sock)

    def _connected(self, number: int, talk: Talk, sock: socket.socket) -> None:
        if talk.probe.port:
            talk.at = talk.probe.target
        if talk.probe.port and not talk.probe.asks:
            self._finish(number, Outcome.REACHED)
            return
        self._handlers.await_input(sock)
        try:
            sock.send(CLIENTIP if talk.probe.asks else self._marks.of(number))
        except OSError as error:
            self._failed(number, error.errno or 0, "")

    def _answered(self, number: int, talk: Talk, sock: socket.socket) -> None:
        try:
            block = sock.recv(1 << 16)
        except OSError as error:
            self._failed(number, error.errno or 0, "")
            return
        talk.read += block
        if not block:
            talk.seen = clientip(talk.read)
            self._finish(number, Outcome.REACHED)

    def _errors(self, sock: socket.socket) -> None:
        """Read the ICMP errors of routers and targets about packets from this socket."""
        for data, number, who in socket_errors(sock):
            probe = self._marks.within(data)
            if probe is not None:
                self._failed(probe, number, who)
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def _arrived(self, number: int, name: str, sender: str) -> None:
        talk = self._talks[number]
        talk.at, talk.seen = name, IPv4Address(sender)

    def _failed(self, number: int, code: int, who: str) -> None:
        says = f", says {who}" if who else ""
        self._finish(number, OUTCOMES.get(code, Outcome.UNREACHABLE), f"{os.strerror(code)}{says}")

    def _finish(self, number: int, outcome: Outcome, detail: str = "") -> None:
        talk = self._talks[number]
        if talk.outcome:
            return
        now = time.monotonic()
        talk.outcome, talk.detail, talk.took = outcome, detail, now - talk.began
        self._pending.end(number, talk, now)
        sock, talk.sock = talk.sock, None
        if sock and outcome is Outcome.REACHED and not talk.probe.asks and self._queue.awaits(talk.server):
            self._leave(sock, talk.server)
        else:
            if sock:
                self._handlers.drop(sock)
            self._queue.done(talk.server, silent=outcome is Outcome.TIMED_OUT)

    def _leave(self, sock: socket.socket, server: Hashable) -> None:
        """Wait for the server's close; only then it has capacity for the next client."""
        descriptor = sock.fileno()
        self._closing.add(sock, server)
        self._handlers.await_input(sock, lambda _: self._left(self._closing.heard(descriptor)))

    def _left(self, *servers: Hashable | None) -> None:
        for server in servers:
            self._queue.done(server)

    def _again(self) -> None:
        for number in self._pending.unanswered(time.monotonic()):
            talk = self._talks[number]
            if talk.probe.kind is not Kind.TCP:
                self._send(number, talk)
            elif not talk.connected:
                # A lost SYN uses none of the server's capacity, so let the next probe start.
                self._queue.done(talk.server, silent=True)
                talk.server = None

    def _give_up(self) -> None:
        for number in self._pending.overdue(time.monotonic()):
            self._finish(number, Outcome.TIMED_OUT, self._talks[number].silence)
        self._left(*self._closing.overdue())

    def _until_due(self) -> float:
        """Seconds until the next timeout."""
        soonest = min(self._closing.due, self._pending.due)
        return max(0.0, soonest - time.monotonic()) if soonest < math.inf else 0.0
