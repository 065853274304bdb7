"""The kernel's trace of a conversation's packets through the rules of iptables-legacy.

Rules in `raw` mark the packets, and the trace's lines come as those of NFLOG. Both are taken back by `close`. After
SIGKILL the next trace does it: the rule's comment names the process, and what the kernel's log was before.
"""

from __future__ import annotations

import errno
import os
import re
import socket
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from nslab.errors import Missing, NslabError, UsageError
from nslab.linux.netlink import netfilter
from nslab.linux.rules import restore
from nslab.linux.taps import close_all
from nslab.linux.tracing.kernel_trace import TracedNamespace, needles_of
from nslab.trace import legacy
from nslab.wire import nflog, nftables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.linux.netns import Namespaces
    from nslab.linux.tracing.rule_texts import Texts
    from nslab.probes.evidence import What
    from nslab.wire.nflog import Logged

_LOG = "/proc/sys/net/netfilter/nf_log/2"
"""Which module logs IPv4 packets in this thread's namespace."""
_OURS = "nfnetlink_log"
_SO_RCVBUFFORCE, _BUFFER, _LONGEST = 33, 1 << 22, 1 << 18
_LEFT = re.compile(r'-A (.* --comment "nslab-trace-(\d+) (\w+)" -j TRACE)')
_BUSY = (
    "another program listens to this lab's log of packets (NFLOG group 0), by which iptables-legacy's rules are traced"
)
_HOOKS = ("PREROUTING", "OUTPUT")


class LegacyTrace:
    """Traces the packets with `signs` in those of the namespaces that have tables of iptables-legacy."""

    def __init__(self, spaces: Namespaces, namespaces: Iterable[str], signs: Sequence[tuple[What, int, bytes]]) -> None:
        self._own = f"nslab-trace-{os.getpid()}"
        self._spaces = spaces
        self._marks, self._needles = needles_of(signs)
        self._opened: dict[str, socket.socket] = {}
        self._before: dict[str, str] = {}
        with ExitStack() as failed:
            failed.callback(self.close)
            for ns in namespaces:
                spaces.enter(ns)
                if _has_tables():
                    self._open(ns)
            failed.pop_all()

    def _open(self, ns: str) -> None:
        for rule, log in _left_behind():
            _put(log)
            _restore(ns, [f"-D {rule}"])
        self._opened[ns] = _listening()
        self._before[ns] = _log()
        # The rule first: whoever finds it after SIGKILL knows by its comment what to put back.
        _restore(ns, [f"-I {rule}" for rule in self._rules(self._before[ns])])
        _put(_OURS)

    def _rules(self, log: str) -> Iterator[str]:
        """The rules that mark packets; their comment says what is to be put back."""
        for needle in self._needles[:: len(legacy.AROUND)]:
            for test in legacy.u32(needle.offset, needle.value):
                for hook in _HOOKS:
                    yield f'{hook} -m u32 --u32 "{test}" -m comment --comment "{self._own} {log}" -j TRACE'

    def close(self) -> None:
        """Take everything back."""
        for ns in self._opened:
            with suppress(OSError, NslabError):
                self._spaces.enter(ns)
                if before := self._before.get(ns):
                    _put(before)
                    _restore(ns, [f"-D {rule}" for rule in self._rules(before)])
        close_all(self._opened.values())
        self._opened.clear()

    def read(self) -> dict[str, tuple[TracedNamespace, Texts]]:
        """By namespace, the events so far, and the rules that they refer to; only where there were any."""
        return {ns: self._read(ns, lines) for ns, sock in self._opened.items() if (lines := _lines(sock))}

    def _read(self, ns: str, lines: list[Logged]) -> tuple[TracedNamespace, Texts]:
        self._spaces.enter(ns)
        chains = legacy.saved(restore.listed(_program("save"), lock=restore.lock_of(ns)))
        signed = [(line, self._sign(line.packet)) for line in lines]
        events = legacy.events(((line, sign) for line, sign in signed if sign is not None), chains, self._own)
        marks = dict(enumerate(self._marks))
        return TracedNamespace(self._own, events, chains.listed, legacy.base_chains(chains), marks), chains.texts()

    def _sign(self, packet: bytes) -> int | None:
        return next((number for number, needle in enumerate(self._needles) if needle.is_in(packet)), None)


def _has_tables() -> bool:
    """Whether the namespace has rules of iptables-legacy; asking for a table would make it."""
    with suppress(OSError), open("/proc/thread-self/net/ip_tables_names", encoding="ascii") as file:
        return bool(file.read().strip())
    return False


def _program(verb: str) -> str:
    with suppress(Missing):
        restore.program(f"iptables-legacy-{verb}")
        return f"iptables-legacy-{verb}"
    return f"iptables-{verb}"


def _restore(ns: str, lines: Iterable[str]) -> None:
    text = "\n".join(("*raw", *lines, "COMMIT", ""))
    restore.fed([_program("restore"), "--noflush", "--wait"], text, restore.lock_of(ns))


def _left_behind() -> Iterator[tuple[str, str]]:
    """Rules of a trace whose process is gone, and what logged before it."""
    for line in restore.listed(_program("save"), "-t", "raw").splitlines():
        if (found := _LEFT.match(line)) and not os.path.exists(f"/proc/{found[2]}"):
            yield found[1], found[3]


def _log() -> str:
    with open(_LOG, encoding="ascii") as file:
        return file.read().strip()


def _put(module: str) -> None:
    with open(_LOG, "w", encoding="ascii") as file:
        file.write(module)


def _listening() -> socket.socket:
    sock = netfilter.connected()
    sock.bind((0, 0))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.send(nflog.listening())
    for _ in range(nflog.ANSWERS):
        if refused := [*nftables.refusals(sock.recv(1 << 16))]:
            sock.close()
            raise UsageError(_BUSY) if refused[0] == errno.EBUSY else OSError(refused[0], os.strerror(refused[0]))
    return sock


def _lines(sock: socket.socket) -> list[Logged]:
    return [line for data in netfilter.waiting(sock, _LONGEST) for line in nflog.logged(data)]
