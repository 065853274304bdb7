"""The descriptors that a pod's pause process keeps for its node: the read ends of its containers' pipes.

They lie in the queue of a socket, as a message for each container, and both ends of the socket are open in the pause
process, which never looks at it. So a node's next process finds them, whatever a container did with its own ends, of
which nothing is believed; and while there is no process of the node, what is printed stays in the pipes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket

from nslab import syscall
from nslab.runtime import rpc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Pipes = tuple[int, int, int]
    """Read ends of a container's stdout, stderr, and the report of its start (-1: there is none, or no more)."""
    Kept = tuple[int, Pipes]
    """Which run of a container it is, and what it prints to."""

QUEUE, DOOR = 3, 4
"""The pause process's descriptors: what was put in at the door is read from the queue."""
_LONGEST, _MOST = 1024, 2
_SO_PEEK_OFF = 42
_make, _pair = syscall.ready_socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


class Store:
    """One pod's. One that cannot be had keeps nothing, and the node goes on: it has the descriptors itself."""

    __slots__ = ("door", "queue")

    def __init__(self, queue: int, door: int) -> None:
        self.queue, self.door = queue, door

    def keep(self, container: str, attempt: int, pipes: Pipes) -> None:
        """Put in what a run of a container prints to."""
        with contextlib.suppress(OSError), _socket(self.door) as door:
            rpc.send_descriptors(door, f"{attempt} {container}".encode(), pipes[:2], rpc.AT_ONCE)

    def drop(self, container: str) -> None:
        """Let go of what belongs to a container."""
        with contextlib.suppress(OSError), _socket(self.queue) as queue, _socket(self.door) as door:
            for name, descriptors in list(_all(queue)):
                # Never out before it is in again: whoever kills us loses nothing.
                if name.split(b" ")[1] != container.encode():
                    rpc.send_descriptors(door, name, descriptors, rpc.AT_ONCE)
                _close(_take(queue)[1])
                _close(descriptors)

    def found(self) -> dict[str, Kept]:
        """What is in there, by container: descriptors of our own."""
        kept: dict[str, Kept] = {}
        with contextlib.suppress(OSError), _socket(self.queue) as queue:
            for name, (out, err) in _all(queue):
                attempt, container = name.decode().split(" ")
                if container in kept:
                    _close(kept[container][1][:2])
                kept[container] = int(attempt), (out, err, -1)
        return kept

    def close(self) -> None:
        """Have it no more."""
        _close((self.queue, self.door))


def new() -> Store:
    """An empty one, for a pause process that is to be forked. Its queue has the lower number."""
    _make()
    return Store(_pair[0], _pair[1])


def of(pause: int) -> Store | None:
    """That of a pause process, by its pidfd; None if it has none, or this machine has us trace nobody."""
    queue = -1
    try:
        queue = syscall.pidfd_getfd(pause, QUEUE)
        return Store(queue, syscall.pidfd_getfd(pause, DOOR))
    except OSError:
        if queue >= 0:
            os.close(queue)
        return None


@contextlib.contextmanager
def _socket(fd: int) -> Iterator[socket.socket]:
    """An object to use it by; the descriptor stays open."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, fileno=fd)
    try:
        yield made
    finally:
        made.detach()


def _all(queue: socket.socket) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """All messages, which stay there."""
    queue.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                yield _take(queue, socket.MSG_PEEK)
    finally:
        queue.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, -1)


def _take(queue: socket.socket, flags: int = 0) -> tuple[bytes, tuple[int, ...]]:
    """The first message: its name, and descriptors of our own."""
    name, descriptors = rpc.receive_descriptors(queue, _LONGEST, _MOST, flags | rpc.AT_ONCE)
    if not descriptors:  # none is left to be had
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return name, descriptors


def _close(descriptors: Iterable[int]) -> None:
    for fd in descriptors:
        os.close(fd)
