"""A namespace's interfaces of any kind, as rtnetlink reports them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass
from nslab.wire.netlink import IFF_UP, attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LINK_ADDRESS, LINK_NAME, LINK_MTU, LINK_MASTER, LINK_PROTINFO, LINK_INFO = 1, 3, 4, 10, 12, 18
INFO_KIND, INFO_DATA = 1, 2
BRIDGE_PORT_MODE = 4
NESTED = 0x8000
_LINK_LINK, _INFO_SLAVE_DATA = 5, 5


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface, with the attributes that a lab uses. `data`: the driver's attributes (IFLA_INFO_DATA)."""

    index: int
    kind: str
    up: bool
    mac: str
    mtu: int
    master: int
    peer: int
    hairpin: bool
    data: Mapping[int, bytes]


Interfaces: TypeAlias = "Mapping[str, Interface]"
"""A namespace's interfaces, by name."""


def interfaces(bodies: Iterable[bytes]) -> dict[str, Interface]:
    """The interfaces in replies to RTM_GETLINK, by name."""
    found = {}
    for body in bodies:
        index, flags = struct.unpack_from("=iI", body, 4)
        attrs = attributes(body, 16)
        info = attributes(attrs.get(LINK_INFO, b""))
        port = attributes(info.get(_INFO_SLAVE_DATA, b""))
        found[attrs[LINK_NAME].rstrip(b"\0").decode()] = Interface(
            index=index,
            kind=info.get(INFO_KIND, b"").rstrip(b"\0").decode(),
            up=bool(flags & IFF_UP),
            mac=attrs.get(LINK_ADDRESS, b"").hex(":"),
            mtu=number(attrs.get(LINK_MTU)),
            master=number(attrs.get(LINK_MASTER)),
            peer=number(attrs.get(_LINK_LINK)),
            hairpin=port.get(BRIDGE_PORT_MODE, b"\0") != b"\0",
            data=attributes(info.get(INFO_DATA, b"")),
        )
    return found


def number(value: bytes | None) -> int:
    """An attribute's value; 0 if there is none. Netlink uses host byte order; nslab's hosts are little-endian."""
    return int.from_bytes(value or b"", "little")
