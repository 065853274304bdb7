"""Requests and answers over a Unix socket: one JSON object per line, and descriptors beside them.

Both sides share this module: the server nslab.components.runtime.peers, the client nslab.linux.processes.connection.
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
"""Bytes of a line: more than the Services of any lab."""
BLOCK = 1 << 18
# Plain numbers: the constants of `socket` are enums, whose operations run much code of `enum` in each process of a lab.
AT_ONCE, CLOSE_ON_EXEC, TRUNCATED = (
    int(flags) for flags in (socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, socket.MSG_CMSG_CLOEXEC, socket.MSG_CTRUNC)
)
_SOCKET, _RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)


_encode, _decode = json.JSONEncoder().encode, json.JSONDecoder().decode


def line(message: dict[str, Any]) -> bytes:
    """Encode a request or an answer."""
    return _encode(message).encode() + b"\n"


def message(line: bytes) -> Any:
    """Decode a line. Raises ValueError."""
    return _decode(line.decode())


class Lines:
    """Splits received blocks into lines. A line may have megabytes, so it scans each byte only once."""

    __slots__ = ("_begun",)

    def __init__(self) -> None:
        self._begun = bytearray()

    def take(self, block: bytes) -> list[bytes]:
        """Return the lines that end in this block, without their newlines. ValueError if a line is too long."""
        first, *more = block.split(b"\n")
        self._begun += first
        if not more:
            if len(self._begun) > LONGEST:
                raise ValueError("line too long")
            return []
        lines = [bytes(self._begun), *more[:-1]]
        self._begun = bytearray(more[-1])
        return lines


def send(connection: socket.socket, data: ReadableBuffer) -> int:
    """Send as many bytes as possible without blocking; return their number. BlockingIOError for none."""
    return connection.send(data, AT_ONCE)


def receive(connection: socket.socket) -> bytes:
    """Receive a block; b"" at EOF, BlockingIOError if nothing has come."""
    return connection.recv(BLOCK, AT_ONCE)


def send_descriptors(connection: socket.socket, data: bytes, descriptors: Sequence[int], flags: int = 0) -> None:
    """Send a message with descriptors."""
    # (socket.send_fds and recv_fds ignore their flags in Python 3.11.)
    rights = [(_SOCKET, _RIGHTS, array.array("i", descriptors))] if descriptors else []
    connection.sendmsg([data], rights, flags)


def receive_descriptors(
    connection: socket.socket, size: int, most: int, flags: int = 0
) -> tuple[bytes, tuple[int, ...]]:
    """Receive a message of at most `size` bytes and its descriptors (close-on-exec): all of them, or none.

    The kernel drops descriptors beyond this process's limit of open files; then the others are closed, too.
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
    """Connect to a Unix socket, whatever the length of its path."""
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
    """Yield a short path to a socket: sun_path has at most 107 bytes, and names of labs and nodes may take more."""
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
