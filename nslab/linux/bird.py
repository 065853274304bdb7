"""Find BIRD: the machine's, or the one that scripts/bird has unpacked; and ask a running one."""

from __future__ import annotations

import contextlib
import os
import stat
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
    from pathlib import Path

    from nslab.lab.types import Lab

SECONDS = 5.0
"""For which BIRD may think about an answer."""
LONGEST = 1 << 24
"""Bytes of an answer, or of a configuration."""


def find_bird(lab: Lab) -> str:
    """The path of BIRD; "" for a lab without it. Missing if this machine has none.

    Of a package unpacked aside, only what nobody but root can have written counts.
    """
    if not lab.bgp:
        return ""
    try:
        return restore.program("bird")
    except Missing as missing:
        if not os.path.exists(UNPACKED_BIRD):
            raise Missing(
                f"cni bgp: bird needs BIRD 2; {str(missing).partition('; ')[2]}, or run scripts/bird"
            ) from None
    path = UNPACKED_BIRD
    while path != "/":
        found = os.lstat(path)
        if found.st_uid or found.st_mode & 0o022 or stat.S_ISLNK(found.st_mode):
            raise NslabError(f"{path} is not root's alone, so {UNPACKED_BIRD} is not run; remove it by hand")
        path = os.path.dirname(path)
    return UNPACKED_BIRD


def configuration(run: Path, host: str) -> str:
    """The configuration in the file of a host's BIRD, which somebody may have changed; "" if it cannot be read."""
    path = run / rundir.node(host) / rundir.BIRD / rundir.BIRD_CONFIG
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        return file.read(LONGEST).decode("utf-8", "replace")


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
