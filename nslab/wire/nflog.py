"""nfnetlink_log's messages: what `-j NFLOG` and the trace of iptables-legacy send (group 0).

Numbers and layouts: Linux's include/uapi/linux/netfilter/nfnetlink_log.h.
"""

from __future__ import annotations

import struct

from nslab.dataclass import dataclass
from nslab.wire.netlink import attribute, attributes, message, messages, numbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKET, _CONFIG = 4 << 8, 4 << 8 | 1
_ACK = 4
_GENERIC = struct.Struct(">BBH")  # struct nfgenmsg: family, version, group
_COMMAND, _MODE, _THRESHOLD = 1, 2, 5
_BIND, _WHOLE = 1, 2
_LONGEST = 0xFFFF
ANSWERS = 3
"""The number of answers to `listening`."""
_MARK, _IIF, _OIF, _PAYLOAD, _PREFIX = 2, 4, 5, 9, 10


@dataclass(frozen=True, slots=True)
class Logged:
    """A logged packet. `packet`: its IPv4 header and what follows; `iif`, `oif`: numbers of interfaces, 0 for none."""

    prefix: str
    packet: bytes
    iif: int
    oif: int
    mark: int


def listening(group: int = 0) -> bytes:
    """The messages by which a socket gets the packets of a group, whole and at once. Each is acknowledged."""
    bodies = (
        attribute(_COMMAND, bytes([_BIND])),
        attribute(_MODE, struct.pack(">IBx", _LONGEST, _WHOLE)),
        attribute(_THRESHOLD, struct.pack(">I", 1)),
    )
    raw = [message(_CONFIG, 0, _GENERIC.pack(0, 0, group) + body) for body in bodies]
    return b"".join(numbered(one, position, _ACK) for position, one in enumerate(raw, 1))


def logged(data: bytes) -> Iterator[Logged]:
    """The packets in a datagram."""
    for kind, _, body in messages(data):
        if kind == _PACKET:
            found = attributes(body, _GENERIC.size)
            prefix = found.get(_PREFIX, b"").rstrip(b"\0").decode(errors="replace")
            iif, oif, mark = (int.from_bytes(found.get(number, b""), "big") for number in (_IIF, _OIF, _MARK))
            yield Logged(prefix, found.get(_PAYLOAD, b""), iif, oif, mark)
