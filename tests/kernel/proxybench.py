"""A network namespace without a name, for the commands of a proxy mode."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nslab.ruletext.items import NodeCommand


class Bench:
    """The namespace of a process that waits for its input to end."""

    def __init__(self, pid: int, lock: Path) -> None:
        self._enter = ("nsenter", f"--net=/proc/{pid}/ns/net")
        self._environment = {**os.environ, "XTABLES_LOCKFILE": str(lock)}

    def run(self, *argv: str, text: str = "") -> str:
        """A program in the namespace, which must succeed; its output."""
        argv = (*self._enter, *argv)
        done = subprocess.run(argv, input=text, capture_output=True, text=True, env=self._environment)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    def do(self, commands: Iterable[NodeCommand]) -> None:
        """The commands of a mode, one after the other."""
        for command in commands:
            self.run(*command.argv, text=command.text)


@contextlib.contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A namespace that goes when nobody is in it any more; `folder` is for xtables' lock file."""
    argv = ["unshare", "--net", "sh", "-c", "echo in && exec cat >/dev/null"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
        yield Bench(process.pid, folder / "xtables.lock")
