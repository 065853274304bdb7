"""Two connections made one: what the client says goes to the endpoint, and what that answers comes back.

asyncio's BufferedProtocol reads into a buffer that is there already, which makes it twice as fast as streams. A side
that takes nothing more stops the reading of the other; an end of one direction is passed on, and the other lives on.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_BUFFER = memoryview(bytearray(1 << 18))
"""One thread reads, and gives on what it read before it reads again: one buffer serves all."""
_RESET_ON_CLOSE = struct.pack("=ii", 1, 0)


class Side(asyncio.BufferedProtocol):
    """One of the two connections. What comes in here is written to `other`."""

    def __init__(self, made: Callable[[Side], None] = lambda _: None, gone: Callable[[], None] = lambda: None) -> None:
        self.other: Side | None = None
        self.transport: asyncio.Transport
        self.lost = False
        self._made, self._gone = made, gone
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Read nothing before there is somebody to give it to."""
        self.transport = cast("asyncio.Transport", transport)
        # Not now but soon: some versions of asyncio begin to read right after this call, paused or not.
        asyncio.get_running_loop().call_soon(self.transport.pause_reading)
        sock = cast("socket.socket", transport.get_extra_info("socket"))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._made(self)

    def join(self, other: Side) -> None:
        """Be one with another connection."""
        for side, opposite in ((self, other), (other, self)):
            side.other = opposite
            side.transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's word
        """Where the next bytes go."""
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self.other:
            # A copy: what cannot be sent at once is kept, by some versions of asyncio as it is.
            self.other.transport.write(bytes(_BUFFER[:nbytes]))

    def eof_received(self) -> bool:
        """This end says no more. The other direction goes on, unless that has ended, too."""
        self.ended = True
        if not self.other or self.other.lost or self.other.ended:
            return False
        self.other.transport.write_eof()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, and so is the other: at once and as rudely, if this one broke."""
        self.lost = True
        self._gone()
        if self.other and not self.other.lost:
            if exc:
                reset(self.other.transport)
            else:
                self.other.transport.close()

    def pause_writing(self) -> None:
        """This end is slower than the other."""
        if self.other and not self.other.lost:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.other and not self.other.lost:
            self.other.transport.resume_reading()


def reset(transport: asyncio.Transport) -> None:
    """End a connection by RST."""
    sock = cast("socket.socket", transport.get_extra_info("socket"))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()
