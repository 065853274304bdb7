"""Running a command where a process of a lab runs: in its namespaces, with its environment and its rights."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Never

from nslab import syscall
from nslab.errors import NslabError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.linux.procs import Record

_OTHERS = syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC
_PASSED_ON = ("TERM", "LANG", "LC_ALL", "COLORTERM", "NO_COLOR")
"""What a shell inside needs to know of the terminal outside."""


def enter(
    target: Record, argv: Sequence[str], env: Mapping[str, str] | None = None, working_dir: str | None = None
) -> int:
    """Run a command as a process beside `target`; its exit status (128 + N if signal N ended it).

    Terminal, stdin, stdout and stderr are the caller's. 127: there is no such command; 126: it cannot be run.
    """
    pidfd = os.pidfd_open(target.pid)
    try:
        likeness = Likeness(target)
        home = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # It is the next child that is in the pid namespace; we stay, and must take later children back out.
            syscall.setns(pidfd, syscall.CLONE_NEWPID)
            child = os.fork()
            if child == 0:
                _become(pidfd, likeness, list(argv), {**likeness.env, **(env or {})}, working_dir or likeness.cwd)
        finally:
            syscall.setns(home, syscall.CLONE_NEWPID)
            os.close(home)
    except OSError as error:
        raise NslabError(f"cannot enter {target.ns}: {error.strerror or error}") from error
    finally:
        os.close(pidfd)
    return _wait(child)


class Likeness:
    """What a command run beside a process takes after: environment, working directory, rights."""

    def __init__(self, target: Record) -> None:
        folder = f"/proc/{target.pid}"
        with open(f"{folder}/environ", "rb") as file:
            pairs = [entry.partition(b"=") for entry in file.read().split(b"\0") if b"=" in entry]
        env = {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
        env.setdefault("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        env.setdefault("HOME", "/root")
        self.env = {**env, **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}}
        # Its own mark, so that it is not taken for the process whose environment this was.
        self.env["NSLAB"] = f"{target.ns} exec"
        self.cwd = os.readlink(f"{folder}/cwd")
        with open(f"{folder}/status", encoding="utf-8") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        with open(f"{folder}/stat", "rb") as file:
            if int(file.read().rpartition(b")")[2].split()[19]) != target.start:
                raise ProcessLookupError(None, "the process ended")
        self.bounding, self.permitted = int(status["CapBnd"], 16), int(status["CapPrm"], 16)
        self.no_new_privileges = status.get("NoNewPrivs", "0").strip() == "1"
        self.groups = [int(group) for group in status["Groups"].split()]
        self.gid, self.uid = int(status["Gid"].split()[1]), int(status["Uid"].split()[1])

    def take(self) -> None:
        """Give this process the same rights, and no more. The order matters: each step needs what the next gives up."""
        os.setgroups(self.groups)
        for number in range(64):
            if not self.bounding >> number & 1:
                with contextlib.suppress(OSError):  # past the last one that this kernel knows
                    syscall.prctl(syscall.PR_CAPBSET_DROP, number)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        if self.uid == 0:
            syscall.capset(self.permitted)
        if self.no_new_privileges:
            syscall.prctl(syscall.PR_SET_NO_NEW_PRIVS, 1)


def _become(pidfd: int, likeness: Likeness, argv: list[str], env: dict[str, str], working_dir: str) -> Never:
    status = 126
    try:
        syscall.setns(pidfd, _OTHERS)
        os.chdir(working_dir)
        os.closerange(3, 1 << 20)  # a caller's open folder would be a way out of the container
        likeness.take()
        for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGQUIT):
            signal.signal(number, signal.SIG_DFL)
        os.execvpe(argv[0], argv, env)
    except FileNotFoundError as error:
        status = 127
        _complain(argv[0], error)
    except OSError as error:
        _complain(argv[0], error)
    finally:
        os._exit(status)


def _complain(command: str, error: OSError) -> None:
    os.write(2, f"nslab: {command}: {error.strerror}\n".encode())


def _wait(child: int) -> int:
    # Ctrl-C and the like reach the whole foreground group: they are the command's to answer.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    finally:
        _take_terminal_back()
        for number, handler in before.items():
            signal.signal(number, handler)
    return status if status >= 0 else 128 - status


def _take_terminal_back() -> None:
    """A shell made itself the terminal's foreground group, and did not find the way back from its pid namespace."""
    with contextlib.suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
        before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        try:
            if os.tcgetpgrp(terminal) != os.getpgrp():
                os.tcsetpgrp(terminal, os.getpgrp())
        finally:
            signal.signal(signal.SIGTTOU, before)
            os.close(terminal)
