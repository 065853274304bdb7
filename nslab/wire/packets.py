"""IPv4 and ARP packets as a packet socket gives them, without their link-layer header: bytes only."""

from __future__ import annotations

from ipaddress import IPv4Address

from nslab.dataclass import dataclass

ICMP, IPIP, TCP, UDP = 1, 4, 6, 17
_VXLAN = 4789
_VXLAN_HEAD = 8 + 14  # VXLAN's own header, and the inner Ethernet header
_RST, _SYN = 4, 2
_ERRORS = (3, 4, 5, 11, 12)
"""ICMP types that quote another packet."""


@dataclass(frozen=True, slots=True)
class DecodedPacket:
    """The innermost packet; of an ICMP error, the error's. `sequence`, `acknowledges`: TCP's; `quoted`: by an error."""

    source: IPv4Address
    target: IPv4Address
    protocol: int
    ports: tuple[int, int] = (0, 0)
    sequence: int = 0
    acknowledges: int = 0
    reset: bool = False
    opens: bool = False
    code: tuple[int, int] = (0, 0)
    payload: bytes = b""
    quoted: DecodedPacket | None = None
    tunnelled: bool = False


def decode(data: bytes, *, tunnelled: bool = False) -> DecodedPacket | None:
    """The packet in `data`, taken out of tunnels; None if it is not whole."""
    if len(data) < 20 or data[0] >> 4 != 4:
        return None
    protocol, ends = data[9], (IPv4Address(data[12:16]), IPv4Address(data[16:20]))
    body = data[(data[0] & 15) * 4 :]
    if protocol == IPIP:
        return decode(body, tunnelled=True)
    if len(body) < 8:
        return DecodedPacket(*ends, protocol, tunnelled=tunnelled)
    ports = (int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big"))
    if protocol == UDP and ports[1] == _VXLAN:
        return decode(body[8 + _VXLAN_HEAD :], tunnelled=True)
    if protocol == UDP:
        return DecodedPacket(*ends, protocol, ports, payload=body[8:], tunnelled=tunnelled)
    if protocol == TCP:
        flags = body[13] if len(body) > 13 else 0
        return DecodedPacket(
            *ends, protocol, ports, int.from_bytes(body[4:8], "big"), int.from_bytes(body[8:12], "big"),
            bool(flags & _RST), bool(flags & _SYN), tunnelled=tunnelled,
        )  # fmt: skip
    code = (body[0], body[1])
    quoted = decode(body[8:]) if protocol == ICMP and body[0] in _ERRORS else None
    return DecodedPacket(*ends, protocol, code=code, payload=body[8:], quoted=quoted, tunnelled=tunnelled)


def arp(data: bytes) -> tuple[int, IPv4Address, IPv4Address] | None:
    """An ARP packet's operation (1: request, 2: reply), its sender's address, and the address that is asked for."""
    if len(data) < 28 or data[2:4] != b"\x08\0":
        return None
    return int.from_bytes(data[6:8], "big"), IPv4Address(data[14:18]), IPv4Address(data[24:28])
