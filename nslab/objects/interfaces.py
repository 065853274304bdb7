"""A namespace's interfaces of any kind, as rtnetlink reports them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.wire.netlink import IFF_UP, attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LINK_ADDRESS, LINK_NAME, LINK_MTU, LINK_MASTER, LINK_PROTINFO, LINK_INFO = 1, 3, 4, 10, 12, 18
INFO_KIND, INFO_DATA = 1, 2
BRIDGE_PORT_MODE = 4
NESTED = 0x8000
LINK_QLEN = 13
IFF_RUNNING, IFF_NOARP, IFF_PROMISC, IFF_ALLMULTI, IFF_MULTICAST = 0x40, 0x80, 0x100, 0x200, 0x1000
_LINK_LINK, _INFO_SLAVE_DATA = 5, 5
_LINK_AF_SPEC, _LINK_XDP = 26, 43
_AF_INET, _AF_INET6 = 2, 10
_INET_CONF, _INET6_CONF = 1, 2
_XDP_ATTACHED, _XDP_PROG_ID = 2, 4
_XDP_MODES = {1: "xdpdrv", 2: "xdpgeneric", 3: "xdpoffload"}


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface, with the attributes that a lab uses. `data`: the driver's attributes (IFLA_INFO_DATA).

    `port`: its attributes as a port (IFLA_INFO_SLAVE_DATA). `conf`, `conf6`: its settings under net/ipv4/conf and
    net/ipv6/conf, 32-bit numbers in the kernel's order. `xdp`: the number of its XDP program, 0 if there is none;
    `xdp_mode`: ip(8)'s word for how that is attached.
    """

    index: int
    kind: str
    up: bool
    mac: str
    mtu: int
    master: int
    peer: int
    hairpin: bool
    data: Mapping[int, bytes]
    flags: int = 0
    qlen: int = 0
    port: Mapping[int, bytes] = field(default_factory=dict)
    conf: bytes = b""
    conf6: bytes = b""
    xdp: int = 0
    xdp_mode: str = "xdp"

    @property
    def running(self) -> bool:
        """Whether it has a carrier."""
        return bool(self.flags & IFF_RUNNING)


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
        xdp = attributes(attrs.get(_LINK_XDP, b""))
        families = attributes(attrs.get(_LINK_AF_SPEC, b""))
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
            flags=flags,
            qlen=number(attrs.get(LINK_QLEN)),
            port=port,
            conf=attributes(families.get(_AF_INET, b"")).get(_INET_CONF, b""),
            conf6=attributes(families.get(_AF_INET6, b"")).get(_INET6_CONF, b""),
            xdp=number(xdp.get(_XDP_PROG_ID)),
            xdp_mode=_XDP_MODES.get(number(xdp.get(_XDP_ATTACHED)), "xdp"),
        )
    return found


def number(value: bytes | None) -> int:
    """An attribute's value; 0 if there is none. Netlink uses host byte order; nslab's hosts are little-endian."""
    return int.from_bytes(value or b"", "little")
