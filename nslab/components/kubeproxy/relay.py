"""Two joined connections: bytes from the client go to the endpoint, and its answers go back.

asyncio's BufferedProtocol reads into an existing buffer, which makes it twice as fast as streams. A side whose buffer
is full pauses reading on the other; EOF in one direction is forwarded, and the other direction stays open.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_BUFFER = memoryview(bytearray(1 << 18))
"""One buffer for all connections: one thread reads, and writes what it read before it reads again."""
_RESET_ON_CLOSE = struct.pack("=ii", 1, 0)


class Side(asyncio.BufferedProtocol):
    """One of the two connections. Bytes that arrive here are written to `other`."""

    def __init__(self, made: Callable[[Side], None] = lambda _: None, gone: Callable[[], None] = lambda: None) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport
        self.lost = False
        self._made, self._gone = made, gone
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pause reading until the other side exists."""
        self.transport = cast("asyncio.Transport", transport)
        # call_soon, because some versions of asyncio start reading right after this call, paused or not.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)
        sock = cast("socket.socket", transport.get_extra_info("socket"))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._made(self)

    def join(self, other: Side) -> None:
        """Join another connection."""
        for side, opposite in ((self, other), (other, self)):
            side.other = opposite
            side.transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's name
        """Return the buffer for the next bytes."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Forward bytes."""
        if self.other:
            # A copy: some versions of asyncio keep unsent data without copying it.
            self.other.transport.write(bytes(_BUFFER[:nbytes]))

    def eof_received(self) -> bool:
        """Forward EOF. The other direction stays open, unless it has ended, too."""
        self.ended = True
        if not self.other or self.other.lost or self.other.ended:
            return False
        self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Close the other connection, too; reset it if this one broke."""
        self.lost = True
        self._gone()
        if self.other and not self.other.lost:
            if exc:
                reset(self.other.transport)
            else:
                self.other.transport.close()

    def pause_writing(self) -> None:
        """Pause the other side: this one is slower."""
        if self.other and not self.other.lost:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Resume the other side."""
        if self.other and not self.other.lost:
            self.other.transport.resume_reading()


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection (RST)."""
    sock = cast("socket.socket", transport.get_extra_info("socket"))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
