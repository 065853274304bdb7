"""`nslab` as a process of its own that starts at once: a server has imported everything, and forks for each call.

Most of a short call's time is Python's, to start and to import nslab. So labkit's `nslab` and whoever types what guides
and documents show call it like this. What a start is like, what signals and limits do to it, and what other users may
call, is tried with real ones.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[2]
CLIENT = Path(__file__).with_name("client.py")


class Server:
    """Forks for each call of a client, until it is closed or who started it ends."""

    def __init__(self, folder: Path, within: Sequence[str] = ()) -> None:
        """`folder`: its socket's; `within`: a command that runs another one in other namespaces."""
        argv = [*within, sys.executable, "-m", "tests.prefork.server", str(folder / "prefork")]
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # of the streams; all else comes with a call
        self._process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout
        assert self._process.stdout.read(1), "it did not start"
        self.python = (sys.executable, "-I", "-S", str(CLIENT), str(folder / "prefork"))
        """Stands before `-m MODULE …` or `-c TEXT …`, as an interpreter would."""

    def close(self) -> None:
        """End it, when all calls have ended."""
        self._process.communicate(timeout=30)


@cache
def python() -> tuple[str, ...]:
    """The interpreter of this process's server, which the first call starts."""
    folder = Path(tempfile.mkdtemp(prefix="nslab-prefork-"))
    server = Server(folder)

    def end() -> None:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    return server.python


def nslab() -> tuple[str, ...]:
    """What stands before a call's words."""
    return (*python(), "-m", "nslab")


def program(path: Path, interpreter: Sequence[str]) -> None:
    """Write a program that is nslab."""
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {" ".join(interpreter)} -m nslab "$@"\n')
    path.chmod(0o755)
