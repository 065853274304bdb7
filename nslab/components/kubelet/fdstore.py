"""The file descriptor store in a pod's pause process: the read ends of its containers' pipes.

They are in the receive queue of a socket, one message (SCM_RIGHTS) for each container. The pause process holds both
ends of the socket open and never reads it. So the node's next process finds the pipes without trusting the containers'
own descriptors; while the node has no process, output stays in the pipes.
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
    """Read ends of a container's stdout, stderr, and the report of its start (-1: none, or closed)."""
    Kept = tuple[int, Pipes]
    """The number of a container's run, and its pipes."""

QUEUE, DOOR = 3, 4
"""The pause process's descriptors of the two ends: messages written to the door arrive in the queue."""
_LONGEST, _MOST = 1024, 2
_SO_PEEK_OFF = 42
_make, _pair = syscall.ready_socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


class Store:
    """The store of one pod. Errors are ignored: the node's process has the descriptors itself."""

    __slots__ = ("door", "queue")

    def __init__(self, queue: int, door: int) -> None:
        self.queue, self.door = queue, door

    def keep(self, container: str, attempt: int, pipes: Pipes) -> None:
        """Store the pipes of a run of a container."""
        with contextlib.suppress(OSError), _socket(self.door) as door:
            rpc.send_descriptors(door, f"{attempt} {container}".encode(), pipes[:2], rpc.AT_ONCE)

    def drop(self, container: str) -> None:
        """Remove the pipes of a container."""
        with contextlib.suppress(OSError), _socket(self.queue) as queue, _socket(self.door) as door:
            for name, descriptors in list(_all(queue)):
                # Put it back in before taking it out: a kill in between loses nothing.
                if name.split(b" ")[1] != container.encode():
                    rpc.send_descriptors(door, name, descriptors, rpc.AT_ONCE)
                _close(_take(queue)[1])
                _close(descriptors)

    def found(self) -> dict[str, Kept]:
        """The stored pipes, by container, as new descriptors of this process."""
        kept: dict[str, Kept] = {}
        with contextlib.suppress(OSError), _socket(self.queue) as queue:
            for name, (out, err) in _all(queue):
                attempt, container = name.decode().split(" ")
                if container in kept:
                    _close(kept[container][1][:2])
                kept[container] = int(attempt), (out, err, -1)
        return kept

    def close(self) -> None:
        """Close both ends."""
        _close((self.queue, self.door))


def new() -> Store:
    """An empty store for a pause process that will be forked. Its queue has the lower number."""
    _make()
    return Store(_pair[0], _pair[1])


def of(pause: int) -> Store | None:
    """The store of a pause process, by its pidfd; None without one, or if this machine forbids ptrace."""
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
    """A socket object for a descriptor, which stays open."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM, fileno=fd)
    try:
        yield made
    finally:
        made.detach()


def _all(queue: socket.socket) -> Iterator[tuple[bytes, tuple[int, ...]]]:
    """Yield all messages without removing them."""
    queue.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, 0)
    try:
        with contextlib.suppress(BlockingIOError):
            while True:
                yield _take(queue, socket.MSG_PEEK)
    finally:
        queue.setsockopt(socket.SOL_SOCKET, _SO_PEEK_OFF, -1)


def _take(queue: socket.socket, flags: int = 0) -> tuple[bytes, tuple[int, ...]]:
    """The first message: its name and its descriptors."""
    name, descriptors = rpc.receive_descriptors(queue, _LONGEST, _MOST, flags | rpc.AT_ONCE)
    if not descriptors:  # out of descriptors
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    return name, descriptors


def _close(descriptors: Iterable[int]) -> None:
    for fd in descriptors:
        os.close(fd)
