"""What is there: the kernel's objects, read back as the nouns that a plan is made of.

Interfaces, chains and settings are looked for by the names that a lab gives; addresses, routes, entries and members
are taken as found, on the lab's interfaces and in its sets, so that what a stranger added shows as well.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING, TypeVar

from nslab.dataclass import dataclass, field, replace
from nslab.linux.netlink import batch as netlink
from nslab.linux.netns import named
from nslab.linux.observe.nft import nft_things
from nslab.linux.rules import restore
from nslab.objects import inet, links
from nslab.objects.iptables import ipset_found, iptables_found
from nslab.objects.ipvs import ipvs_found
from nslab.objects.kinds import (
    Address,
    Blackhole,
    Bridge,
    Chain,
    Dummy,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    LinkUp,
    Neighbour,
    Netns,
    Object,
    Port,
    RealServer,
    Route,
    SetMember,
    State,
    Sysctl,
    Tun,
    Veth,
    VirtualServer,
    Vxlan,
)
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from nslab.linux.cni.plugins import Plugins
    from nslab.linux.netns import Namespaces

    T = TypeVar("T", bound=Object)

_KINDS: dict[type, str] = {Veth: "veth", Bridge: "bridge", Vxlan: "vxlan", Ipip: "ipip", Tun: "tun", Dummy: "dummy"}
_IFLA_LINK, _INFO_KIND, _INFO_DATA, _INFO_SLAVE_DATA = 5, 1, 2, 5
_RTPROT_KERNEL, _TABLE_MAIN = 2, 254
_RTM_F_CLONED = 0x200  # no route, but what the kernel has learnt of one: the MTU of a path
_BRPORT_MODE = 4
_PROTOCOL_NAMES = {number: name for name, number in inet.PROTOCOLS.items()}


@dataclass(frozen=True, slots=True)
class Found:
    """One interface, as far as a lab cares."""

    index: int
    kind: str
    up: bool
    mac: str
    mtu: int
    master: int
    peer: int
    hairpin: bool
    data: Mapping[int, bytes]


@dataclass(slots=True)
class Observation:
    """`have`: what is there of a lab's nouns. `strangers`: others' rules and interfaces, by namespace."""

    have: list[Object] = field(default_factory=list)
    strangers: dict[str, list[str]] = field(default_factory=dict)


def observe(spaces: Namespaces, lab: str, known: State, iptables: str, plugins: Plugins | None = None) -> Observation:
    """What the kernel has of a lab, but for processes. `known`: what could be there, wanted or once made."""
    seen = Observation()
    there = named(lab)
    by_ns: dict[str, list[Object]] = {ns: [] for ns in there}
    for obj in {obj.key: obj for obj in known}.values():
        by_ns.get(obj.ns, []).append(obj)
    found = {ns: interfaces(spaces.route_socket(ns)) for ns in there}
    devices_of = _device_names(known)
    theirs = plugins.interfaces() if plugins else {}
    for ns in there:
        seen.have.append(Netns(ns))
        mine = by_ns[ns]
        seen.have += [device for obj in mine if (device := _device(obj, found))]
        ours = devices_of.get(ns, set()) & found[ns].keys()
        seen.have += _link_states(ns, ours, found[ns])
        seen.have += _inet(spaces.route_socket(ns), ns, ours, found[ns])
        spaces.enter(ns)
        seen.have += _sysctls(_only(mine, Sysctl))
        seen.have += _sets(ns, _only(mine, IpSet))
        seen.have += _servers(ns, mine)
        rules, strange = _rules(ns, mine, iptables)
        seen.have += rules
        things, others = nft_things(spaces, ns, mine)
        seen.have += things
        strange += others
        known_by_name = ours | theirs.get(ns, set()) | {"lo"} | FALLBACK
        strange += [f"interface {name}" for name in sorted(found[ns].keys() - known_by_name)]
        if strange:
            seen.strangers[ns] = strange
    seen.have += _strays(seen.have, known, found)
    spaces.home()
    if plugins:
        seen.have += plugins.look(known, found)
    return seen


FALLBACK = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
"""Interfaces that drivers put into every namespace by themselves."""


def interfaces(sock: socket.socket) -> dict[str, Found]:
    """The interfaces of a namespace, by name."""
    found = {}
    for body in netlink.dump(sock, wire.GETLINK, wire.link_header()):
        index, flags = struct.unpack_from("=iI", body, 4)
        attrs = wire.attributes(body, 16)
        info = wire.attributes(attrs.get(links.IFLA_LINKINFO, b""))
        port = wire.attributes(info.get(_INFO_SLAVE_DATA, b""))
        found[attrs[links.IFLA_IFNAME].rstrip(b"\0").decode()] = Found(
            index=index,
            kind=info.get(_INFO_KIND, b"").rstrip(b"\0").decode(),
            up=bool(flags & wire.IFF_UP),
            mac=attrs.get(links.IFLA_ADDRESS, b"").hex(":"),
            mtu=_number(attrs.get(links.IFLA_MTU)),
            master=_number(attrs.get(links.IFLA_MASTER)),
            peer=_number(attrs.get(_IFLA_LINK)),
            hairpin=port.get(_BRPORT_MODE, b"\0") != b"\0",
            data=wire.attributes(info.get(_INFO_DATA, b"")),
        )
    return found


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", "little")  # netlink speaks host order; nslab's hosts are little-endian


def _device(obj: Object, found: Mapping[str, Mapping[str, Found]]) -> Object | None:
    """The interface as it is, if there is one of that name and kind."""
    if not isinstance(obj, Veth | Bridge | Vxlan | Ipip | Tun | Dummy):
        return None
    near = found[obj.ns].get(obj.name)
    if near is None:
        return None
    if near.kind != _KINDS[type(obj)]:
        return _unknown(obj, near)
    match obj:
        case Veth():
            far = found.get(obj.peer_ns, {}).get(obj.peer)
            if far is None or (near.peer, far.peer) != (far.index, near.index):
                return _unknown(obj, near)
            mtu = far.mtu if near.mtu == obj.mtu else near.mtu
            return replace(obj, mac=near.mac, peer_mac=far.mac, mtu=mtu)
        case Bridge():
            return replace(obj, mac=near.mac, mtu=near.mtu)
        case Vxlan():
            return _vxlan(obj, near, found[obj.ns])
        case Ipip() | Tun():
            return replace(obj, mtu=near.mtu)
        case Dummy():
            return obj


def _strays(have: Sequence[Object], known: State, found: Mapping[str, Mapping[str, Found]]) -> Iterator[Object]:
    """Far ends of cables whose near end is not there any more, or lies in a namespace without a name."""
    cables = {(obj.peer_ns, obj.peer) for obj in have if isinstance(obj, Veth)}
    for obj in _only(known, Veth):
        far = found.get(obj.peer_ns, {}).get(obj.peer)
        if far and (obj.peer_ns, obj.peer) not in cables:
            cables.add((obj.peer_ns, obj.peer))
            yield Veth(obj.peer_ns, obj.peer, far.mac, obj.peer_ns, "", "", far.mtu)


def _unknown(obj: Veth | Bridge | Vxlan | Ipip | Tun | Dummy, near: Found) -> Veth:
    """Something else that bears the name: a cable to nowhere will do, since all that can be done is to remove it."""
    return Veth(obj.ns, obj.name, near.mac, obj.ns, "", "", near.mtu)


def _vxlan(obj: Vxlan, near: Found, siblings: Mapping[str, Found]) -> Vxlan:
    parents = {link.index: name for name, link in siblings.items()}
    return replace(
        obj,
        mac=near.mac,
        mtu=near.mtu,
        vni=_number(near.data.get(links.VXLAN_ID)),
        port=int.from_bytes(near.data.get(links.VXLAN_PORT, b""), "big"),
        local=IPv4Address(near.data.get(links.VXLAN_LOCAL, bytes(4))),
        parent=parents.get(_number(near.data.get(links.VXLAN_LINK)), ""),
    )


def _device_names(known: State) -> dict[str, set[str]]:
    """The interfaces that a lab makes, by namespace; a cable has two ends."""
    found: dict[str, set[str]] = {}
    for obj in known:
        match obj:
            case Veth():
                found.setdefault(obj.ns, set()).add(obj.name)
                found.setdefault(obj.peer_ns, set()).add(obj.peer)
            case Bridge() | Vxlan() | Ipip() | Tun() | Dummy():
                found.setdefault(obj.ns, set()).add(obj.name)
    return found


def _link_states(ns: str, ours: set[str], found: Mapping[str, Found]) -> Iterator[Object]:
    names = {link.index: name for name, link in found.items()}
    for name in (*ours, "lo"):
        link = found[name]
        if link.up:
            yield LinkUp(ns, name)
        if link.master:
            yield Port(ns, name, names[link.master], link.hairpin)


def _inet(sock: socket.socket, ns: str, ours: set[str], found: Mapping[str, Found]) -> Iterator[Object]:
    devices = {found[name].index: name for name in ours}
    yield from _addresses(sock, ns, devices)
    yield from _routes(sock, ns, devices)
    yield from _neighbours(sock, ns, devices)
    if any(found[name].kind == "vxlan" for name in ours):
        yield from _fdb(sock, ns, devices)


def _addresses(sock: socket.socket, ns: str, devices: Mapping[int, str]) -> Iterator[Object]:
    for body in netlink.dump(sock, wire.GETADDR, struct.pack("=Bxxxi", 2, 0)):
        length, index = struct.unpack_from("=xBxxI", body)
        if index in devices:
            said = wire.attributes(body, 8)
            broadcast = inet.IFA_BROADCAST in said
            yield Address(ns, devices[index], IPv4Interface((said[inet.IFA_LOCAL], length)), broadcast)


def _routes(sock: socket.socket, ns: str, devices: Mapping[int, str]) -> Iterator[Object]:
    for body in netlink.dump(sock, wire.GETROUTE, struct.pack("=B11x", 2)):
        length, _, _, table, protocol, _, kind, flags = struct.unpack_from("=xBBBBBBBI", body)
        if table != _TABLE_MAIN or protocol == _RTPROT_KERNEL or flags & _RTM_F_CLONED:
            continue
        attrs = wire.attributes(body, 12)
        to = IPv4Network((attrs.get(inet.RTA_DST, bytes(4)), length))
        by = _PROTOCOL_NAMES.get(protocol, str(protocol))
        device = devices.get(_number(attrs.get(inet.RTA_OIF)))
        if kind == inet.RTN_BLACKHOLE:
            yield Blackhole(ns, to, by)
        elif kind == inet.RTN_UNICAST and device:
            via = IPv4Address(attrs[inet.RTA_GATEWAY]) if inet.RTA_GATEWAY in attrs else None
            yield Route(ns, to, device, via, by, bool(flags & inet.RTNH_F_ONLINK))


def _neighbours(sock: socket.socket, ns: str, devices: Mapping[int, str]) -> Iterator[Object]:
    for body in netlink.dump(sock, wire.GETNEIGH, struct.pack("=B11x", 2)):
        index, state = struct.unpack_from("=xxxxiH", body)
        attrs = wire.attributes(body, 12)
        if index in devices and state == inet.NUD_PERMANENT and inet.NDA_LLADDR in attrs:
            mac = attrs[inet.NDA_LLADDR].hex(":")
            yield Neighbour(ns, devices[index], IPv4Address(attrs[inet.NDA_DST]), mac)


def _fdb(sock: socket.socket, ns: str, devices: Mapping[int, str]) -> Iterator[Object]:
    for body in netlink.dump(sock, wire.GETNEIGH, struct.pack("=B11x", inet.AF_BRIDGE)):
        index, _, flags = struct.unpack_from("=xxxxiHB", body)
        attrs = wire.attributes(body, 12)
        if index in devices and flags & inet.NTF_SELF and inet.NDA_DST in attrs:
            yield Fdb(ns, devices[index], attrs[inet.NDA_LLADDR].hex(":"), IPv4Address(attrs[inet.NDA_DST]))


def _sysctls(wanted: Sequence[Sysctl]) -> Iterator[Object]:
    """The settings' present values; this thread is in their namespace. One whose interface is gone is gone, too."""
    for obj in wanted:
        try:
            with open(f"/proc/sys/{obj.path}") as file:
                yield replace(obj, value=file.read().strip())
        except OSError:
            continue


def _sets(ns: str, known: Sequence[IpSet]) -> Iterator[Object]:
    if known:
        names = {obj.name for obj in known}
        for name, kind, options, members in ipset_found(_saved(ns, "ipset", "save")):
            if name in names:
                yield IpSet(ns, name, kind, options)
                yield from (SetMember(ns, name, member) for member in members)


def _servers(ns: str, mine: Sequence[Object]) -> Iterator[Object]:
    """Virtual and real servers; without any that could be there, ipvsadm is not run: it loads IPVS's module."""
    known = {obj.key for obj in mine if isinstance(obj, VirtualServer | RealServer)}
    if known:
        for server in ipvs_found(ns, _saved(ns, "ipvsadm", "-Sn")):
            # A server with weight 0 that nobody wants is on its way out: kube-proxy waits for its connections to end.
            if not isinstance(server, RealServer) or server.weight or server.key in known:
                yield server


def _rules(ns: str, mine: Sequence[Object], iptables: str) -> tuple[list[Object], list[str]]:
    """Our chains and jumps as they are, and everybody else's rules."""
    chains = {obj.key: obj for obj in _only(mine, Chain)}
    jumps = {obj.key: obj for obj in _only(mine, Jump)}
    if not chains and not jumps:
        return [], []
    have: list[Object] = []
    strange = []
    for table, chain, rules in iptables_found(_saved(ns, f"{iptables}-save")):
        ours = chains.get(("Chain", ns, table, chain))
        if ours:
            have.append(replace(ours, rules=rules))
            continue
        for rule in dict.fromkeys(rules):
            jump = jumps.get(("Jump", ns, table, chain, rule))
            if jump:
                have.append(jump)
            else:
                strange.append(f"iptables -t {table} -A {chain} {rule}")
    return have, strange


def _saved(ns: str, *argv: str) -> str:
    return restore.listed(*argv, lock=restore.lock_of(ns))


def _only(objects: Sequence[Object], kind: type[T]) -> list[T]:
    return [obj for obj in objects if isinstance(obj, kind)]
