"""Find BIRD: the machine's, or the one that scripts/bird has unpacked; and ask a running one."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.bgp import status
from nslab.errors import Missing, NslabError
from nslab.linux.rules import restore
from nslab.linux.timeouts import scaled
from nslab.objects.needs import UNPACKED_BIRD
from nslab.runtime import rpc

if TYPE_CHECKING:
    import socket

    from nslab.lab.types import Lab

SECONDS = 5.0
"""For which BIRD may think about an answer."""
LONGEST = 1 << 20
"""Bytes of an answer, or of a configuration."""


def find_bird(lab: Lab) -> str:
    """The path of BIRD; "" for a lab without it. Missing if this machine has none.

    Of a package unpacked aside, only what nobody but root can have written counts.
    """
    if not lab.bgp:
        return ""
    try:
        return _second(restore.program("bird"))
    except Missing as missing:
        if not os.access(UNPACKED_BIRD, os.X_OK) or not os.path.isfile(UNPACKED_BIRD):
            raise Missing(f"{missing}; or run scripts/bird, which starts no service") from None
    folder = Path(UNPACKED_BIRD).parent
    for path in _with_parents(folder, *folder.rglob("*")):
        if not _is_roots(path.lstat()):
            raise NslabError(f"{path} is not root's alone, so {UNPACKED_BIRD} is not run; remove it by hand")
    return UNPACKED_BIRD


def _second(program: str) -> str:
    """The path of a BIRD 2; Missing if it is another one, whose language is not that of the configurations."""
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, env=restore.environment(), check=False
    )
    said = (done.stdout + done.stderr).strip()
    if not said.startswith("BIRD version 2."):
        raise Missing(f"{program} is not BIRD 2 ({said[:60]})")
    return program


def _with_parents(*paths: Path) -> set[Path]:
    """Files and folders, and all folders above them, as they are named and as links lead to them."""
    named = {*paths, *(Path(os.path.realpath(path)) for path in paths)}
    return {one for path in named for one in (path, *path.parents)}


def _is_roots(found: os.stat_result) -> bool:
    """Whether nobody but root can replace a file, a link, or the entries of a folder that are root's."""
    if stat.S_ISLNK(found.st_mode):
        return found.st_uid == 0  # Linux does not look at a link's mode
    return found.st_uid == 0 and (not found.st_mode & 0o022 or bool(found.st_mode & stat.S_ISVTX))


def configuration(run: Path, host: str) -> str:
    """The configuration in the file of a host's BIRD, which somebody may have changed; "" if it cannot be read."""
    path = run / rundir.node(host) / rundir.BIRD / rundir.BIRD_CONFIG
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, LONGEST).decode("utf-8", "replace")
    except OSError:  # no file at all
        return ""
    finally:
        os.close(descriptor)


def ask(run: Path, host: str, *commands: str) -> list[list[str]]:
    """The answers of a host's BIRD to commands that only read, as lines. OSError if it does not run or answer."""
    path = run / rundir.node(host) / rundir.BIRD / rundir.BIRD_SOCKET
    with contextlib.closing(rpc.connect(path)) as connection:
        connection.settimeout(scaled(SECONDS))
        _answer(connection)  # its greeting
        return [_asked(connection, command) for command in ("restrict", *commands)][1:]


def _asked(connection: socket.socket, command: str) -> list[str]:
    connection.sendall(f"{command}\n".encode())
    return status.lines(_answer(connection))


def _answer(connection: socket.socket) -> str:
    text = ""
    while not status.complete(text):
        block = connection.recv(1 << 16)
        if not block or len(text) > LONGEST:
            raise ConnectionError("BIRD broke off its answer")
        text += block.decode("utf-8", "replace")
    return text
