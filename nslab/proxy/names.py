"""kube-proxy's chain names: a prefix and the first letters of a SHA-256 in base32.

iptables allows 28 characters for a chain's name, so kube-proxy hashes the port's name, and puts it into comments.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nslab.proxy.model import Port, ServiceInfo


_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_PAIRS = [first + second for first in _LETTERS for second in _LETTERS]


def base32(text: str) -> str:
    """The first 16 letters of RFC 4648 base32 (A-Z, 2-7) of SHA-256."""
    # Two letters are ten bits. base64.b32encode takes three times as long, and there may be 50,000 names.
    bits = int.from_bytes(sha256(text.encode()).digest()[:10])
    return (
        f"{_PAIRS[bits >> 70]}{_PAIRS[bits >> 60 & 1023]}{_PAIRS[bits >> 50 & 1023]}{_PAIRS[bits >> 40 & 1023]}"
        f"{_PAIRS[bits >> 30 & 1023]}{_PAIRS[bits >> 20 & 1023]}{_PAIRS[bits >> 10 & 1023]}{_PAIRS[bits & 1023]}"
    )


def port_name(service: ServiceInfo, port: Port) -> str:
    """NAMESPACE/NAME:PORT, or without `:PORT` if the port has no name: the name in comments and hashes."""
    whole = f"{service.namespace}/{service.name}"
    return f"{whole}:{port.name}" if port.name else whole


def port_hash(name: str, protocol: str) -> str:
    """The 16 letters after KUBE-SVC-, -SVL-, -EXT- and -FW-, from a `port_name`; `protocol` in small letters."""
    return base32(name + protocol)


def endpoint_hash(name: str, protocol: str, address: str) -> str:
    """The 16 letters after KUBE-SEP-, for an endpoint at `address` (IP:PORT)."""
    return base32(name + protocol + address)


def nft_name(name: str) -> str:
    """The name after `service-`, `endpoint-` … in nftables: 8 letters of hash, and the name, at most 240 in total."""
    whole = f"{base32(name)[:8]}-{name}"
    return whole if len(whole) <= 240 else f"{whole[:237]}..."
