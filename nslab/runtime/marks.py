"""The mark of a process of a lab: `NSLAB=NETNS ROLE` in its environment, for ps and for `down`.

Any process can have one, so it proves nothing (nslab.runtime.trust).

A process gets it as a variable at exec. A process that was only forked overwrites the memory that the kernel shows as
/proc/PID/environ and /proc/PID/cmdline; for that, the spawner starts with more of both than it needs.
"""

from __future__ import annotations

import contextlib
import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

VARIABLE = "NSLAB"


def _areas() -> tuple[int, int, int, int]:
    with open("/proc/self/stat", "rb") as file:
        # The name in parentheses may contain anything; field 3 follows the last one. 48 to 51: arg_start … env_end.
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46]), int(fields[47]), int(fields[48])


class Memory:
    """The argument and environment memory of this process; children have it at the same address."""

    def __init__(self) -> None:
        arguments, arguments_end, environment, environment_end = _areas()
        self._arguments = _window(arguments, arguments_end)
        self._environment = _window(environment, environment_end)
        # Cleared once, here, so that children write to (and so copy) only the pages that they use.
        self._environment[:] = bytes(len(self._environment))
        self._used = 0

    def process_title(self, title: str, variables: Mapping[str, str]) -> ProcessTitle:
        """Prepare `title` for ps, and as many of these variables as fit, the first ones first."""
        # A last byte that is not NUL makes the kernel show the text up to its first NUL, as for setproctitle(3).
        room = len(self._arguments) - 1
        text = title.encode(errors="surrogateescape")[: room - 1].ljust(room, b"\0") + b"\1"
        block = b""
        for name, value in variables.items():
            block += f"{name}={value}\0".encode(errors="surrogateescape")
        if len(block) > len(self._environment):
            block = block[: block.rfind(b"\0", 0, len(self._environment)) + 1]
        return ProcessTitle(title.partition(" ")[0].encode(errors="surrogateescape")[:15], text, block)

    def show(self, process_title: ProcessTitle) -> None:
        """Show a title. Takes a child almost no memory: plain copies, without ctypes (which would take half a MB)."""
        _call(process_title.name)
        self.wear(process_title)

    @contextlib.contextmanager
    def named(self, name: bytes) -> Iterator[None]:
        """Have another name meanwhile, which children forked in here keep."""
        before = self.rename(name)
        try:
            yield
        finally:
            self.rename(before)

    def rename(self, name: bytes) -> bytes:
        """Have another name from now on, which children keep; returns the one before."""
        comm = os.open("/proc/self/comm", os.O_RDWR | os.O_CLOEXEC)
        before = os.read(comm, 16).rstrip(b"\n")
        os.write(comm, name)
        os.close(comm)
        return before

    def wear(self, process_title: ProcessTitle) -> None:
        """Show a title without changing the name."""
        self._arguments[:] = process_title.text
        block = process_title.block.ljust(self._used, b"\0")
        self._environment[: len(block)] = block
        self._used = len(process_title.block)


class ProcessTitle:
    """The texts that the kernel shows of a process: its name, argument memory and environment memory."""

    __slots__ = ("block", "name", "text")

    def __init__(self, name: bytes, text: bytes, block: bytes) -> None:
        self.name, self.text, self.block = name, text, block


def _call(name: bytes) -> None:
    comm = os.open("/proc/self/comm", os.O_WRONLY)
    os.write(comm, name)
    os.close(comm)


def _window(start: int, end: int) -> memoryview:
    return memoryview((ctypes.c_char * (end - start)).from_address(start)).cast("B")


def mark(ns: str, role: str) -> str:
    """The value of the mark."""
    return f"{ns} {role}"
