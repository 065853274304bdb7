"""Numbers behind the names that iptables, ipset and nft print (pure)."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Address

PROTOCOLS = {
    "ip": 0, "hopopt": 0, "icmp": 1, "igmp": 2, "ggp": 3, "ipencap": 4, "ipip": 94, "st": 5, "tcp": 6, "egp": 8,
    "igp": 9, "udp": 17, "dccp": 33, "ipv6": 41, "rsvp": 46, "gre": 47, "esp": 50, "ipv6-icmp": 58, "icmpv6": 58,
    "ah": 51, "ospf": 89, "ospfigp": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "isis": 124, "sctp": 132,
    "mobility-header": 135, "mh": 135, "udplite": 136, "mpls-in-ip": 137,
}  # fmt: skip
"""As in /etc/protocols."""
ICMP_TYPES = {
    "echo-reply": 0, "pong": 0, "destination-unreachable": 3, "source-quench": 4, "redirect": 5, "echo-request": 8,
    "ping": 8, "router-advertisement": 9, "router-solicitation": 10, "time-exceeded": 11, "ttl-exceeded": 11,
    "parameter-problem": 12, "timestamp-request": 13, "timestamp-reply": 14, "info-request": 15, "info-reply": 16,
    "address-mask-request": 17, "address-mask-reply": 18,
}  # fmt: skip
ICMP_CODES = {
    "net-unreachable": 0, "host-unreachable": 1, "prot-unreachable": 2, "port-unreachable": 3, "frag-needed": 4,
    "net-prohibited": 9, "host-prohibited": 10, "admin-prohibited": 13,
}  # fmt: skip
TCP_FLAGS = {
    "NONE": 0, "FIN": 1, "SYN": 2, "RST": 4, "PSH": 8, "ACK": 16, "URG": 32, "ECN": 64, "CWR": 128, "ALL": 63,
}  # fmt: skip


def number(text: str, limit: int = 0xFFFFFFFF) -> int:
    """A number as the programs print it, decimal or hexadecimal. Raises ValueError."""
    value = int(text[:12], 16 if text[:2] in ("0x", "0X") else 10)
    if not 0 <= value <= limit or len(text) > 12 or "_" in text:
        raise ValueError(text)
    return value


def fraction(text: str) -> Fraction:
    """A probability with a decimal point. Raises ValueError."""
    if len(text) > 20 or not text.replace(".", "", 1).isdecimal() or not 0 <= (value := Fraction(text)) <= 1:
        raise ValueError(text)
    return value


def protocol(text: str) -> int:
    """A protocol by its name or number. Raises ValueError."""
    known = PROTOCOLS.get(text)
    return number(text, 255) if known is None else known


def port(text: str) -> int:
    """A port's number. Raises ValueError."""
    return number(text, 65535)


def address(text: str) -> int:
    """An IPv4 address as a number. Raises ValueError."""
    return int(IPv4Address(text))


def network(text: str) -> tuple[int, int]:
    """The network and mask of `A`, `A/24` or `A/255.255.255.0`, where the mask may have holes. Raises ValueError."""
    base, _, length = text.partition("/")
    if "." in length:
        mask = address(length)
    else:
        bits = number(length, 32) if length else 32
        mask = 0xFFFFFFFF << (32 - bits) & 0xFFFFFFFF
    return address(base) & mask, mask


def span(text: str, separator: str, limit: int = 0xFFFFFFFF) -> tuple[int, int]:
    """The ends of a range of numbers such as `80:90`, where both may be missing; a number is a range of one."""
    first, found, last = text.partition(separator)
    low = number(first, limit) if first else 0
    return low, number(last, limit) if last else limit if found else low


def address_span(text: str) -> tuple[int, int]:
    """The ends of `A-B`; `A` is a range of one. Raises ValueError."""
    first, _, last = text.partition("-")
    low, high = address(first), address(last or first)
    if high < low:
        raise ValueError(text)
    return low, high


def bits(text: str, names: dict[str, int]) -> int:
    """The bits of names between commas. Raises ValueError."""
    try:
        return sum(names[name] for name in {*text.split(",")} if name) if text else 0
    except KeyError as error:
        raise ValueError(text) from error
