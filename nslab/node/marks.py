"""The mark by which a process of a lab is found again: `NSLAB=NETNS ROLE NODE …` in its environment.

A process that exec's gets it as a variable. One that was only forked writes over the memory that the kernel shows as
/proc/PID/environ and /proc/PID/cmdline: the spawner is started with more of both than it needs.
"""

from __future__ import annotations

import ctypes
import os

from nslab import syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VARIABLE = "NSLAB"


def _areas() -> tuple[int, int, int, int]:
    with open("/proc/self/stat", "rb") as file:
        # The name in parentheses may hold anything; field 3 follows the last one. 48 to 51: arg_start … env_end.
        fields = file.read().rpartition(b")")[2].split()
    return int(fields[45]), int(fields[46]), int(fields[47]), int(fields[48])


class Memory:
    """The argument and environment memory of this process; children find it at the same place."""

    def __init__(self) -> None:
        self.arguments, arguments_end, self.environment, environment_end = _areas()
        self.arguments_size = arguments_end - self.arguments
        self.environment_size = environment_end - self.environment
        # Cleared once, here: children then touch (and so own) only the pages that they write.
        ctypes.memset(self.environment, 0, self.environment_size)
        self.used = 0

    def show(self, title: str, variables: Mapping[str, str]) -> None:
        """Appear as `title` in ps, and with these variables (the first ones, should they be too many)."""
        name = ctypes.create_string_buffer(os.fsencode(title.split(" ", 1)[0])[:15])
        syscall.prctl(syscall.PR_SET_NAME, ctypes.addressof(name))
        text = os.fsencode(title)[: self.arguments_size - 2].ljust(self.arguments_size - 1, b"\0")
        # A last byte that is not NUL makes the kernel show the text up to its first NUL, as for setproctitle(3).
        ctypes.memmove(self.arguments, text + b"\1", self.arguments_size)
        block = b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in variables.items())
        if len(block) > self.environment_size:
            block = block[: block.rfind(b"\0", 0, self.environment_size) + 1]
        ctypes.memmove(self.environment, block.ljust(self.used, b"\0"), max(len(block), self.used))
        self.used = len(block)


def mark(ns: str, role: str, *more: object) -> str:
    """The value of the mark; `more` is what a new nslab-node must know of the process."""
    return " ".join((ns, role, *map(str, more)))


def marked(entries: Iterable[bytes]) -> str:
    """The mark among the entries of an environment, or nothing."""
    return next((os.fsdecode(entry[6:]) for entry in entries if entry.startswith(b"NSLAB=")), "")
