"""Requests and answers over a unix socket: a JSON object a line, and descriptors beside them.

What both sides do is here. nslab.components.runtime.peers serves, nslab.linux.processes.connection asks and waits.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from _typeshed import ReadableBuffer

LONGEST = 1 << 28
"""Bytes of a line: more than any lab's Services have."""
BLOCK = 1 << 18
# Plain numbers: what `socket` has are enums, and an operation on these runs much of `enum` in each process of a lab.
AT_ONCE, CLOSE_ON_EXEC, TRUNCATED = (
    int(flags) for flags in (socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, socket.MSG_CMSG_CLOEXEC, socket.MSG_CTRUNC)
)
_SOCKET, _RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)


def line(message: dict[str, Any]) -> bytes:
    """A request or an answer, as it is sent."""
    return json.dumps(message).encode() + b"\n"


class Lines:
    """What was received, cut into lines. A line may have megabytes, so no byte of it is looked at twice."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = bytearray()

    def take(self, block: bytes) -> list[bytes]:
        """The lines that end in this block, without their ends. ValueError: one has become too long."""
        first, *more = block.split(b"\n")
        self._begun += first
        if not more:
            if len(self._begun) > LONGEST:
                raise ValueError("a line has no end")
            return []
        lines = [bytes(self._begun), *more[:-1]]
        self._begun = bytearray(more[-1])
        return lines


def send(connection: socket.socket, data: ReadableBuffer) -> int:
    """Send as much as can be without waiting: how many bytes. BlockingIOError: none can."""
    return connection.send(data, AT_ONCE)


def receive(connection: socket.socket) -> bytes:
    """A block of what has come; nothing if the other end was closed. BlockingIOError: none has come."""
    return connection.recv(BLOCK, AT_ONCE)


def send_descriptors(connection: socket.socket, data: bytes, descriptors: Sequence[int], flags: int = 0) -> None:
    """Send a message with descriptors."""
    # (In Python 3.11 socket.send_fds and recv_fds pay no heed to flags.)
    rights = [(_SOCKET, _RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([data], rights, flags)


def receive_descriptors(
    connection: socket.socket, size: int, most: int, flags: int = 0
) -> tuple[bytes, tuple[int, ...]]:
    """A message of so many bytes at most and its descriptors, which no program inherits: all, or none for want of room.

    The kernel leaves out those for which this process may have no numbers.
    """
    descriptors = array.array("i")
    room = socket.CMSG_LEN(most * descriptors.itemsize)
    data, rights, cut, _ = connection.recvmsg(size, room, flags | CLOSE_ON_EXEC)
    for _, _, numbers in rights:
        descriptors.frombytes(numbers)
    if cut & TRUNCATED:
        for descriptor in descriptors:
            os.close(descriptor)
        return data, ()
    return data, tuple(descriptors)


def connect(path: str | os.PathLike[str]) -> socket.socket:
    """A connection to who listens at a path, however long that is."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with address(path) as where:
            connection.connect(where)
    except OSError:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def address(path: str | os.PathLike[str]) -> Iterator[str]:
    """What a socket at this path is called meanwhile: its own path has 107 bytes at most, and names may take more."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
