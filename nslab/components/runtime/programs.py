"""Run programs one after the other without blocking: the loop watches for the end of each."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NamedTuple

from nslab.runtime.trust import PROGRAMS as PATH

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.components.runtime.loop import Watches
    from nslab.ruletext.items import NodeCommand

ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C"}


class Ran(NamedTuple):
    """The result of a program."""

    command: NodeCommand
    status: int
    output: str
    error: str

    @property
    def failure(self) -> str:
        """The error in one line; "" without one."""
        # `ipvsadm -R` continues after a line that the kernel refused, and exits with 0.
        if self.status == 0 and not (self.command.argv == ("ipvsadm", "-R") and self.error):
            return ""
        if self.command.argv[0] == "conntrack" and "0 flow entries" in self.error:
            return ""
        reason = " ".join(self.error.split()) or f"exit status {self.status}"
        return f"{' '.join(self.command.argv)}: {reason[:1000]}"


class Programs:
    """Runs one batch of programs at a time."""

    def __init__(self, loop: Watches) -> None:
        self._loop = loop
        self._running = 0

    def run(self, commands: Sequence[NodeCommand], then: Callable[[list[Ran]], None]) -> None:
        """Run programs in order, up to the first that fails; then call `then` with their results."""
        self._next(list(commands), [], then)

    def finish(self) -> None:
        """Wait for the running program, so that it completes its write."""
        if self._running:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._running, 0)

    def _next(self, left: list[NodeCommand], done: list[Ran], then: Callable[[list[Ran]], None]) -> None:
        if not left or (done and done[-1].failure):
            then(done)
            return
        command = left.pop(0)
        files: list[int] = []
        try:
            files += (_memory(text) for text in (command.text, "", ""))
            self._running = _spawn(command.argv, files)
        except OSError as error:  # no such program, or out of memory, descriptors or processes
            _close(files)
            missing = isinstance(error, FileNotFoundError)
            why = f"{command.argv[0]} is not installed" if missing else error.strerror or str(error)
            then([*done, Ran(command, 127, "", why)])
            return
        descriptor = os.pidfd_open(self._running)

        def ended() -> None:
            self._loop.forget(descriptor)
            os.close(descriptor)
            status = os.waitstatus_to_exitcode(os.waitpid(self._running, 0)[1])
            self._running = 0
            output, error = (_text(file) for file in files[1:])
            _close(files)
            self._next(left, [*done, Ran(command, status, output, error)], then)

        self._loop.watch(descriptor, ended)


def _spawn(argv: tuple[str, ...], files: Sequence[int]) -> int:
    # Files in memory instead of pipes, which the loop would have to feed and drain.
    actions = [(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)]
    return os.posix_spawn(_found(argv[0]), argv, ENVIRONMENT, file_actions=actions, setsigdef=[signal.SIGPIPE])


def _found(name: str) -> str:
    for folder in PATH.split(":"):
        if os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise FileNotFoundError(name)


def _memory(text: str) -> int:
    file = os.memfd_create("nslab", os.MFD_CLOEXEC)
    data = memoryview(text.encode())
    while data:
        data = data[os.write(file, data) :]
    os.lseek(file, 0, os.SEEK_SET)
    return file


def _text(file: int) -> str:
    size = os.fstat(file).st_size
    return os.pread(file, size, 0).decode("utf-8", "replace")


def _close(files: Sequence[int]) -> None:
    for file in files:
        os.close(file)
