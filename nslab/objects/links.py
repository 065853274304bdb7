"""Interfaces: for each step the command that a person types and the messages that say the same to the kernel."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias, assert_never

from nslab.objects.kinds import Bridge, Dummy, Ipip, LinkUp, Port, Tun, Veth, Vxlan, mac_of, macs
from nslab.objects.plan import Add, Remove, Replace
from nslab.quote import fill
from nslab.wire.netlink import (
    CREATE,
    DELLINK,
    EXCL,
    IFF_UP,
    NEWLINK,
    SETLINK,
    attribute,
    link_header,
    mac_bytes,
    message,
    text,
    u32,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from nslab.objects.kinds import Key
    from nslab.objects.plan import Step

    class Indexes(Protocol):
        """What only the kernel knows, asked for by name."""

        def index(self, ns: str, name: str) -> int:
            """The interface's index in its namespace; OSError (ENODEV) if there is none."""

        def fresh(self, ns: str, name: str) -> int:
            """An index for an interface to be made."""

        def netns(self, ns: str) -> int:
            """A descriptor of the namespace."""


Link: TypeAlias = Veth | Bridge | Vxlan | Ipip | Port | LinkUp | Dummy

IFLA_ADDRESS, IFLA_IFNAME, IFLA_MTU, IFLA_MASTER, IFLA_PROTINFO, IFLA_LINKINFO, IFLA_NET_NS_FD = 1, 3, 4, 10, 12, 18, 28
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1
VXLAN_ID, VXLAN_LINK, VXLAN_LOCAL, VXLAN_LEARNING, VXLAN_PORT = 1, 3, 4, 7, 15
_BRPORT_MODE, _NESTED, _AF_BRIDGE = 4, 0x8000, 7


def lines(step: Step, obj: Link | Tun) -> list[str]:
    """The commands for one step."""
    match step, obj:
        case Remove(), Veth() | Bridge() | Vxlan() | Ipip() | Dummy():
            return [fill("ip -n {} link del {}", obj.ns, obj.name)]
        case Replace(), Veth() | Bridge() | Vxlan() | Ipip() | Tun():
            return [
                fill("ip -n {} link set {}", ns, name) + (fill(" address {}", mac) if mac else "") + f" mtu {obj.mtu}"
                for ns, name, mac in _ends(step, obj)
            ]
        case Add(), Veth() | Bridge() | Vxlan() | Ipip() | Dummy():
            return [_added(obj)]
        case Replace(), Dummy():  # it has no settings
            return [_added(obj)]
        case Add(), Tun():
            return [
                fill("ip -n {} tuntap add dev {} mode tun", obj.ns, obj.name),
                fill("ip -n {} link set {} mtu {}", obj.ns, obj.name, obj.mtu),
            ]
        case Remove(), Tun():
            return [fill("ip -n {} tuntap del dev {} mode tun", obj.ns, obj.name)]
        case Add() | Replace(), Port():
            hairpin = fill("bridge -n {} link set dev {} hairpin ", obj.ns, obj.dev) + ("on" if obj.hairpin else "off")
            plug = [fill("ip -n {} link set {} master {}", obj.ns, obj.dev, obj.bridge)]
            return [*plug, hairpin] if obj.hairpin or isinstance(step, Replace) else plug
        case Remove(), Port():
            return [fill("ip -n {} link set {} nomaster", obj.ns, obj.dev)]
        case _, LinkUp():
            return [fill("ip -n {} link set {} {}", obj.ns, obj.dev, "down" if isinstance(step, Remove) else "up")]
        case _:
            raise AssertionError(step)


def _added(obj: Veth | Bridge | Vxlan | Ipip | Dummy) -> str:
    begin = fill("ip -n {} link add {}", obj.ns, obj.name)
    match obj:
        case Veth():
            peer = fill("peer name {} netns {} address {}", obj.peer, obj.peer_ns, obj.peer_mac)
            return f"{begin} {fill('address {}', obj.mac)} mtu {obj.mtu} type veth {peer} mtu {obj.mtu}"
        case Bridge():
            return f"{begin} {fill('address {}', obj.mac)} mtu {obj.mtu} type bridge"
        case Vxlan():
            tunnel = fill("id {} local {} dev {} dstport {}", obj.vni, obj.local, obj.parent, obj.port)
            return f"{begin} {fill('address {}', obj.mac)} mtu {obj.mtu} type vxlan {tunnel} nolearning"
        case Ipip():
            return f"{begin} mtu {obj.mtu} type ipip"
        case Dummy():
            return f"{begin} type dummy"


def encode(step: Step, obj: Link, indexes: Indexes) -> list[tuple[str, bytes]]:
    """The messages for one step, each with the namespace in which it is said."""
    if isinstance(step, Replace) and isinstance(obj, Veth | Bridge | Vxlan | Ipip):
        return [(ns, _settings(indexes.index(ns, name), obj.mtu, mac)) for ns, name, mac in _ends(step, obj)]
    return [(obj.ns, raw) for raw in _encode(step, obj, indexes)]


def _encode(step: Step, obj: Link, indexes: Indexes) -> list[bytes]:
    match step, obj:
        case Remove(), Veth() | Bridge() | Vxlan() | Ipip() | Dummy():
            return [message(DELLINK, 0, link_header(indexes.index(obj.ns, obj.name)))]
        case Add(), Veth() | Bridge() | Vxlan() | Ipip() | Dummy():
            return [_create(obj, indexes)]
        case Add() | Replace(), Port():
            port, bridge = indexes.index(obj.ns, obj.dev), indexes.index(obj.ns, obj.bridge)
            needless = isinstance(step, Add) and not obj.hairpin
            return [_plug(port, bridge)] if needless else [_plug(port, bridge), _hairpin(port, obj.hairpin)]
        case Remove(), Port():
            return [_plug(indexes.index(obj.ns, obj.dev), 0)]
        case _, LinkUp():
            flags = 0 if isinstance(step, Remove) else IFF_UP
            return [message(SETLINK, 0, link_header(indexes.index(obj.ns, obj.dev), flags, IFF_UP))]
        case _:
            raise AssertionError(step)


def _ends(step: Replace, obj: Veth | Bridge | Vxlan | Ipip | Tun) -> Iterator[tuple[str, str, str]]:
    """Namespace, name and new link-layer address of each interface that the object is, each set from its own side.

    An address that stays is not said again: the kernel would forget all neighbours of the interface.
    """
    before, after = macs(step.old), macs(obj)
    yield obj.ns, obj.name, _changed(before, after, mac_of(obj.ns, obj.name))
    if isinstance(obj, Veth):
        yield obj.peer_ns, obj.peer, _changed(before, after, mac_of(obj.peer_ns, obj.peer))


def _changed(before: dict[Key, str], after: dict[Key, str], end: Key) -> str:
    return "" if before.get(end) == after.get(end) else after[end]


def _create(obj: Veth | Bridge | Vxlan | Ipip | Dummy, indexes: Indexes) -> bytes:
    """RTM_NEWLINK with an index of our choosing: what is made is known without looking it up."""
    own = text(IFLA_IFNAME, obj.name)
    if not isinstance(obj, Dummy):
        own += u32(IFLA_MTU, obj.mtu)
    match obj:
        case Veth():
            peer = (
                link_header(indexes.fresh(obj.peer_ns, obj.peer))
                + text(IFLA_IFNAME, obj.peer)
                + u32(IFLA_MTU, obj.mtu)
                + attribute(IFLA_ADDRESS, mac_bytes(obj.peer_mac))
                + u32(IFLA_NET_NS_FD, indexes.netns(obj.peer_ns))
            )
            own += attribute(IFLA_ADDRESS, mac_bytes(obj.mac)) + _info("veth", attribute(_VETH_PEER | _NESTED, peer))
        case Bridge():
            own += attribute(IFLA_ADDRESS, mac_bytes(obj.mac)) + _info("bridge")
        case Vxlan():
            data = (
                u32(VXLAN_ID, obj.vni)
                + u32(VXLAN_LINK, indexes.index(obj.ns, obj.parent))
                + attribute(VXLAN_LOCAL, obj.local.packed)
                + attribute(VXLAN_LEARNING, b"\0")
                + attribute(VXLAN_PORT, struct.pack("!H", obj.port))
            )
            own += attribute(IFLA_ADDRESS, mac_bytes(obj.mac)) + _info("vxlan", data)
        case Ipip():
            own += _info("ipip")
        case Dummy():
            own += _info("dummy")
        case missing:
            assert_never(missing)
    return message(NEWLINK, CREATE | EXCL, link_header(indexes.fresh(obj.ns, obj.name)) + own)


def _info(kind: str, data: bytes = b"") -> bytes:
    body = text(_INFO_KIND, kind) + (attribute(_INFO_DATA | _NESTED, data) if data else b"")
    return attribute(IFLA_LINKINFO | _NESTED, body)


def _settings(index: int, mtu: int, mac: str = "") -> bytes:
    address = attribute(IFLA_ADDRESS, mac_bytes(mac)) if mac else b""
    return message(SETLINK, 0, link_header(index) + u32(IFLA_MTU, mtu) + address)


def _plug(index: int, master: int) -> bytes:
    return message(SETLINK, 0, link_header(index) + u32(IFLA_MASTER, master))


def _hairpin(index: int, on: bool) -> bytes:
    body = attribute(IFLA_PROTINFO | _NESTED, attribute(_BRPORT_MODE, bytes([on])))
    return message(SETLINK, 0, link_header(index, family=_AF_BRIDGE) + body)
