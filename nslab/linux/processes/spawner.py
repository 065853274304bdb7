"""The spawner: a process that has imported what nodes need, and forks them; our side of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nslab import rundir, syscall
from nslab.linux.netns import raise_limit
from nslab.objects.names import netns
from nslab.runtime import rpc
from nslab.runtime.marks import VARIABLE
from nslab.runtime.trust import Births, started

if TYPE_CHECKING:
    from typing import Self

MAIN = Path(__file__).parents[2] / "components" / "runtime" / "main.py"
_PAD = "x" * 400  # room in argv and environ, which forked processes overwrite with their titles (nslab.runtime.marks)
_ENVIRONMENT = "." * 16384
_MOST = 1 << 16
"""Bytes of the spawner's output that are read."""


def sealed(program: str) -> int:
    """Return a descriptor of a read-only mount of a program's file, so that a lab's process cannot change the program.

    A process executed from it, and all its children, have it as /proc/PID/exe. (A sealed memfd does not suffice: its
    mode can be changed.)
    """
    file = syscall.open_tree(os.path.realpath(program))
    attributes = syscall.MOUNT_ATTR_RDONLY | syscall.MOUNT_ATTR_NOSUID | syscall.MOUNT_ATTR_NODEV
    syscall.seal(file, attributes)
    return file


class Interpreter:
    """A process that imports what nodes need and then waits for its lab. It ends with this object, or this process."""

    def __init__(self) -> None:
        raise_limit()  # nodes inherit it
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        os.set_inheritable(theirs.fileno(), True)
        isolated = "-ISB" if sys.dont_write_bytecode else "-IS"
        argv = [sys.executable, isolated, str(MAIN), str(theirs.fileno()), _PAD]
        # Errors before there is a log belong in our own error, not on the terminal.
        self.output = os.memfd_create("nslab-spawner", os.MFD_CLOEXEC)
        program = sealed(sys.executable)
        # A process group of its own: Ctrl-C must not end it, since the rollback needs it. Our signals may be blocked.
        try:
            self.pid = os.posix_spawn(
                f"/proc/self/fd/{program}",
                argv,
                {VARIABLE: _ENVIRONMENT},
                file_actions=[(os.POSIX_SPAWN_DUP2, self.output, 2)],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE],
            )
        finally:
            os.close(program)
            theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, also while it imports."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.close()

    def close(self) -> None:
        """Let it end, and wait until it has."""
        self.socket.close()  # it exits on EOF
        os.waitpid(self.pid, 0)
        os.close(self.output)
        self.pid = 0


class Spawner:
    """The spawner of a call for a lab, whose folder is `run`. It runs from `start` to `close`.

    `early`: an interpreter that has been started before the lab was known; it is closed with the spawner.
    """

    def __init__(self, lab: str, run: Path, early: Interpreter | None = None) -> None:
        self._lab, self._run = lab, run
        self._early = early
        self._process: Interpreter | None = None

    @property
    def _journal(self) -> Path:
        # One for each spawner: calls without the lab's lock have one, too.
        assert self._process
        return self._run / rundir.spawned(self._process.pid)

    def start(self) -> None:
        """Start it unless it runs, and return at once while it boots."""
        if self._process:
            return
        self._process = self._early or Interpreter()
        Births(str(self._journal)).write(started(self._process.pid, netns(self._lab, ""), "spawner", {}))
        pods = syscall.open_tree(str(self._run / rundir.PODS))
        try:
            with contextlib.suppress(ConnectionError):  # it has ended: `fork` says so
                rpc.send_descriptors(self._process.socket, json.dumps([self._lab, str(self._run)]).encode(), [pods])
        finally:
            os.close(pods)

    def fork(self, what: str, ns: str) -> socket.socket:
        """Have it fork a process of kind `what` for the node of a namespace; return the connection to that process."""
        self.start()
        assert self._process
        ours, theirs = socket.socketpair()
        names = os.open(self._run / rundir.NAMES, os.O_PATH | os.O_CLOEXEC)
        # Linux does not bind a mount from another mount namespace, but it can attach a detached copy (open_tree).
        folder = syscall.open_tree(str(self._run))
        request = json.dumps({"what": what, "ns": ns}).encode()
        try:
            rpc.send_descriptors(self._process.socket, request, [names, folder, theirs.fileno()])
        finally:
            os.close(names)
            os.close(folder)
            theirs.close()
        return ours

    def last_line(self) -> str:
        """The last line that it printed, without Python's name of the exception; "" if it does not run."""
        if not self._process:
            return ""
        size = os.fstat(self._process.output).st_size
        text = os.pread(self._process.output, _MOST, max(0, size - _MOST)).decode(errors="replace")
        lines = [line for line in text.split("\n") if line.strip()] or [""]
        return re.sub(r"^\w+(Error|Exception): (\[Errno \d+\] )?", "", lines[-1])

    def close(self) -> None:
        """End it, if it runs."""
        if self._process:
            journal = self._journal
            self._process.close()
            self._process = self._early = None
            with contextlib.suppress(FileNotFoundError):
                journal.unlink()
