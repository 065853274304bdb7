"""IPv4 and ARP packets as a packet socket gives them, without their link-layer header: bytes only."""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.wire import icmp

if TYPE_CHECKING:
    from collections.abc import Callable

ICMP, IPIP, TCP, UDP = 1, 4, 6, 17
ARP_REQUEST, ARP_REPLY = 1, 2
_VXLAN = (4789, 8472)
"""UDP ports: IANA's, and the one that Linux had before, which flannel uses."""
_VXLAN_HEAD = 8 + 14  # VXLAN's own header, and the inner Ethernet header
_SYN, _RST, _ACK = 2, 4, 16
_ERRORS = (3, 4, 5, 11, 12)
"""ICMP types that quote another packet."""
_DEEPEST = 8
"""How many packets are looked for in each other: whoever sends them says how many there are."""


@dataclass(frozen=True, slots=True)
class DecodedPacket:
    """The innermost packet; of an ICMP error, the error's. `quoted`: by an error.

    `sequence`, `acknowledges`, `flags`: TCP's; `flags` as the header's byte has them.
    `length`: in bytes, as its IP header has it. `outer`: the tunnel's packet around it. `identity`: an ICMP echo's.
    """

    source: IPv4Address
    target: IPv4Address
    protocol: int
    ports: tuple[int, int] = (0, 0)
    sequence: int = 0
    acknowledges: int = 0
    flags: int = 0
    code: tuple[int, int] = (0, 0)
    payload: bytes = b""
    quoted: DecodedPacket | None = None
    ttl: int = 0
    length: int = 0
    outer: DecodedPacket | None = None
    identity: int = 0

    @property
    def tunnelled(self) -> bool:
        """Whether it came in a tunnel's packet."""
        return self.outer is not None

    @property
    def opens(self) -> bool:
        """Whether it is a SYN, or the answer to one."""
        return bool(self.flags & _SYN)

    @property
    def reset(self) -> bool:
        """Whether it ends a connection at once."""
        return bool(self.flags & _RST)

    @property
    def answers(self) -> bool:
        """Whether its acknowledgement number counts."""
        return bool(self.flags & _ACK)


def decode(
    data: bytes, *, outer: DecodedPacket | None = None, deepest: int = _DEEPEST, inside: bool = True
) -> DecodedPacket | None:
    """The packet in `data`, taken out of tunnels; None if it is not whole, or if too many are in each other.

    `inside`: False for a tunnel's packet itself.
    """
    if len(data) < 20 or data[0] >> 4 != 4 or data[0] & 15 < 5 or not deepest:
        return None
    protocol, body = data[9], data[(data[0] & 15) * 4 :]
    plain = partial(
        DecodedPacket, IPv4Address(data[12:16]), IPv4Address(data[16:20]), protocol,
        ttl=data[8], length=int.from_bytes(data[2:4], "big"), outer=outer,
    )  # fmt: skip
    if protocol == IPIP and inside:
        return decode(body, outer=plain(), deepest=deepest - 1)
    if len(body) < 8:
        return plain()
    ports = (int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big"))
    if protocol == UDP and ports[1] in _VXLAN and inside:
        return decode(body[8 + _VXLAN_HEAD :], outer=plain(ports=ports), deepest=deepest - 1)
    if protocol == UDP:
        return plain(ports=ports, payload=body[8:])
    if protocol == TCP:
        return _segment(plain, ports, body)
    code = (body[0], body[1])
    quoted = decode(body[8:], deepest=deepest - 1) if protocol == ICMP and body[0] in _ERRORS else None
    identity = int.from_bytes(body[4:6], "big") if protocol == ICMP and body[0] in icmp.ECHOES else 0
    return plain(code=code, payload=body[8:], quoted=quoted, identity=identity)


def _segment(plain: Callable[..., DecodedPacket], ports: tuple[int, int], body: bytes) -> DecodedPacket:
    sequence, acknowledges = int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big")
    flags = body[13] if len(body) > 13 else 0
    return plain(ports=ports, sequence=sequence, acknowledges=acknowledges, flags=flags)


def arp(data: bytes) -> tuple[int, IPv4Address, IPv4Address] | None:
    """An ARP packet's operation (1: request, 2: reply), its sender's address, and the address that is asked for."""
    if len(data) < 28 or data[2:4] != b"\x08\0":
        return None
    return int.from_bytes(data[6:8], "big"), IPv4Address(data[14:18]), IPv4Address(data[24:28])
