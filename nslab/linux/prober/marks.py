"""The bytes by which the packets of a round's probes are known."""

from __future__ import annotations

import os
import struct

from nslab.linux.prober.sockets import echo_request

_MARK = struct.Struct("=8sI")


class ProbeMarks:
    """Of `count` probes, numbered from 0: a token of the round, and the number."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._token = os.urandom(8)
        # A new ICMP id for each round: conntrack would treat packets with an old one as it did then.
        self._identity = int.from_bytes(os.urandom(2), "big")

    def of(self, number: int) -> bytes:
        """What a probe's packet carries."""
        return _MARK.pack(self._token, number)

    def echo(self, number: int, size: int) -> bytes:
        """A probe's ICMP echo request. `size`: see `echo_request`."""
        return echo_request(self._identity, number, self.of(number), size)

    def number(self, data: bytes) -> int | None:
        """The probe whose mark the data begin with, if any."""
        if len(data) < _MARK.size:
            return None
        token, number = _MARK.unpack_from(data)
        return int(number) if token == self._token and number < self._count else None

    def within(self, data: bytes) -> int | None:
        """The probe whose mark is somewhere in the data, as in what an ICMP error quotes."""
        begins = data.find(self._token)
        return None if begins < 0 else self.number(data[begins:])
