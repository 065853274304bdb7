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

from nslab import rundir, syscall
from nslab.objects.names import netns
from nslab.runtime import rpc
from nslab.runtime.trust import Births, started

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


class Spawner:
    """The spawner of a call for a lab, whose folder is `run`. It runs from `start` to `close`."""

    def __init__(self, lab: str, run: Path) -> None:
        self._lab, self._run = lab, run
        self._socket: socket.socket | None = None
        self._pid, self._output = 0, -1

    @property
    def _journal(self) -> Path:
        # One for each spawner: calls without the lab's lock have one, too.
        return self._run / rundir.spawned(self._pid)

    def start(self) -> None:
        """Start it unless it runs, and return at once while it boots."""
        if self._socket:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        pods = syscall.open_tree(str(self._run / rundir.PODS))
        for descriptor in (theirs.fileno(), pods):
            os.set_inheritable(descriptor, True)
        isolated = "-ISB" if sys.dont_write_bytecode else "-IS"
        argv = [sys.executable, isolated, str(MAIN), str(theirs.fileno()), str(pods), str(self._run), _PAD]
        # The mark, and room for its children's marks.
        environment = {"NSLAB": f"{netns(self._lab, '')} spawner {_ENVIRONMENT}"}
        # Errors before there is a log belong in our own error, not on the terminal.
        self._output = os.memfd_create("nslab-spawner", os.MFD_CLOEXEC)
        interpreter = sealed(sys.executable)
        # A process group of its own: Ctrl-C must not end it, since the rollback needs it. Our signals may be blocked.
        try:
            self._pid = os.posix_spawn(
                f"/proc/self/fd/{interpreter}",
                argv,
                environment,
                file_actions=[(os.POSIX_SPAWN_DUP2, self._output, 2)],
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE],
            )
        finally:
            for descriptor in (interpreter, pods):
                os.close(descriptor)
            theirs.close()
        Births(str(self._journal)).write(started(self._pid, netns(self._lab, ""), "spawner", {}))
        self._socket = ours

    def fork(self, what: str, ns: str) -> socket.socket:
        """Have it fork a process of kind `what` for the node of a namespace; return the connection to that process."""
        self.start()
        assert self._socket
        ours, theirs = socket.socketpair()
        names = os.open(self._run / rundir.NAMES, os.O_PATH | os.O_CLOEXEC)
        # Linux does not bind a mount from another mount namespace, but it can attach a detached copy (open_tree).
        folder = syscall.open_tree(str(self._run))
        request = json.dumps({"what": what, "ns": ns}).encode()
        try:
            rpc.send_descriptors(self._socket, request, [names, folder, theirs.fileno()])
        finally:
            os.close(names)
            os.close(folder)
            theirs.close()
        return ours

    def last_line(self) -> str:
        """The last line that it printed, without Python's name of the exception; "" if it does not run."""
        if self._output < 0:
            return ""
        size = os.fstat(self._output).st_size
        text = os.pread(self._output, _MOST, max(0, size - _MOST)).decode(errors="replace")
        lines = [line for line in text.split("\n") if line.strip()] or [""]
        return re.sub(r"^\w+(Error|Exception): (\[Errno \d+\] )?", "", lines[-1])

    def close(self) -> None:
        """End it, if it runs."""
        if self._socket:
            self._socket.close()  # it exits on EOF
            os.waitpid(self._pid, 0)
            os.close(self._output)
            self._socket, self._output = None, -1
            with contextlib.suppress(FileNotFoundError):
                self._journal.unlink()
