"""A TCP stream between two pods: sockets opened in their namespaces, and two threads of this process."""

from __future__ import annotations

import socket
import threading
import time

from nslab.linux.netns import Namespaces

_BLOCK = 1 << 18


def megabits(sender: str, receiver: str, address: str, seconds: float) -> float:
    """Throughput in Mbit/s from the namespace `sender` to `address` in the namespace `receiver`."""
    with Namespaces() as spaces:
        spaces.enter(receiver)
        listener = socket.create_server((address, 0))
        spaces.enter(sender)
        out = socket.create_connection(listener.getsockname(), timeout=10)
        spaces.home()
    with listener, out:
        into, _ = listener.accept()
        with into:
            thread = threading.Thread(target=_send, args=(out, time.monotonic() + seconds))
            thread.start()
            received, started, buffer = 0, time.perf_counter(), bytearray(_BLOCK)
            while size := into.recv_into(buffer):
                received += size
            spent = time.perf_counter() - started
            thread.join()
    return received * 8 / spent / 1e6


def _send(out: socket.socket, until: float) -> None:
    block = bytes(_BLOCK)
    while time.monotonic() < until:
        out.sendall(block)
    out.shutdown(socket.SHUT_WR)
