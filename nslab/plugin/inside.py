"""A command beside a process of a lab: the script that goes in, and the call of it.

pytest itself goes nowhere: it may have threads, and a capture of its own on its standard streams. The script imports as
little as it can (a fifth of `nslab exec`).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.linux.procs import Record


class Target(NamedTuple):
    """As much of a process's record as it takes to enter."""

    pid: int
    start: int
    ns: str


def run_beside(target: Record, command: Sequence[str], text: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command; AssertionError if it takes too long. Nothing of it is left then."""
    argv = [sys.executable, "-I", "-S", __file__, str(target.pid), str(target.start), target.ns, *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, errors="replace", start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(text, timeout)
        except BaseException as error:
            # The command is a child of the child, and holds the pipes.
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                said = f"{out}{err}".rstrip()
                raise AssertionError(f"{' '.join(command)}: not within {timeout:g} s\n{said}") from None
            raise
    return subprocess.CompletedProcess(list(command), process.returncode, out, err)


def main() -> int:
    """Enter, run, and return the status."""
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from nslab.linux.enter import enter

    pid, start, ns, *command = sys.argv[1:]
    return enter(Target(int(pid), int(start), ns), command)  # type: ignore[arg-type]


if __name__ == "__main__":
    sys.exit(main())
