"""What NAT makes of the first packet of a connection, as nf_nat decides it: for iptables' targets and nft's (pure)."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import replace
from nslab.trace.rules.packet import WITH_PORTS, Verdict
from nslab.trace.rules.turn import Move, Turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import At

MANY = 256
"""The maximum number of addresses of which one is drawn; of more, none is named."""


class NatRange(NamedTuple):
    """The new addresses (numbers; None: they stay) and ports. `base`: the port that becomes the first of `ports`."""

    addresses: tuple[int, int] | None = None
    ports: tuple[int, int] | None = None
    base: int = 0
    random: bool = False


def destination(packet: HookPacket, target: NatRange, name: str = "DNAT") -> Sequence[Turn]:
    """DNAT. Of several addresses the kernel takes one by a hash of the connection's ends: each has the same chance."""
    if target.addresses and target.addresses[1] - target.addresses[0] >= MANY:
        return unknown(packet, f"{name} to one of more than {MANY} addresses")
    port = packet.destination_port
    if target.ports and packet.protocol in WITH_PORTS:
        if target.random and target.ports[0] != target.ports[1]:
            return unknown(packet, f"{name} to a random port")
        port = _port(port, target)
    return [
        _bound(packet, replace(packet, destination=address, destination_port=port), "DNAT", name, address, port, chance)
        for address, chance in _drawn(target, packet.destination)
    ]


def source(packet: HookPacket, target: NatRange, name: str = "SNAT") -> Sequence[Turn]:
    """SNAT. The kernel keeps the source's port unless it is told otherwise, or the port is taken."""
    if target.addresses and target.addresses[1] - target.addresses[0] >= MANY:
        return unknown(packet, f"{name} to one of more than {MANY} addresses")
    return [
        _bound(
            packet, replace(packet, source=address, source_ports=_source_ports(packet, target)), "SNAT", name, address,
            0, chance,
        )
        for address, chance in _drawn(target, packet.source)
    ]  # fmt: skip


def masquerade(packet: HookPacket, target: NatRange) -> Sequence[Turn]:
    """SNAT to an address of the interface by which the packet leaves: who knows the routes, knows it."""
    changed = replace(
        packet,
        masquerade=True,
        source_ports=_source_ports(packet, target),
        status=packet.status | {"SNAT"},
        origin=packet.origin or packet.flow,
    )
    return [Turn(changed, Move.BIND, "MASQUERADE")]


def redirect(packet: HookPacket, at: At, target: NatRange) -> Sequence[Turn]:
    """DNAT to this node: to the interface's own address, or to 127.0.0.1 for what the node itself sends."""
    here = IPv4Address("127.0.0.1") if at.hook == "OUTPUT" else at.addresses.on(packet.iif)
    if here is None:
        return unknown(packet, f"REDIRECT to the address of {packet.iif or 'no interface'}")
    return destination(packet, target._replace(addresses=(int(here), int(here))), "REDIRECT")


def netmap(packet: HookPacket, at: At, network: tuple[int, int]) -> Sequence[Turn]:
    """NETMAP: another network's address with the same last bits: the destination's or, on the way out, the source's."""
    base, mask = network
    outward = at.hook in ("POSTROUTING", "INPUT")
    old = int(packet.source if outward else packet.destination)
    new = base | old & ~mask & 0xFFFFFFFF
    return (source if outward else destination)(packet, NatRange((new, new)), "NETMAP")


def unknown(packet: HookPacket, name: str) -> Sequence[Turn]:
    """The packet is changed, but nobody can say into what."""
    return [Turn(packet, Move.END, "not known", verdict=Verdict.UNKNOWN, chance=None, doubts=(name,))]


def _bound(
    packet: HookPacket, changed: HookPacket, status: str, name: str, address: IPv4Address, port: int, chance: Fraction
) -> Turn:
    shown = f"{name} {address}{f':{port}' * (packet.protocol in WITH_PORTS and bool(port))}"
    if changed.flow != packet.flow or changed.source_ports:
        changed = replace(changed, status=packet.status | {status}, origin=packet.origin or packet.flow)
    return Turn(changed, Move.BIND, shown, chance=chance)


def _drawn(target: NatRange, own: IPv4Address) -> list[tuple[IPv4Address, Fraction]]:
    if target.addresses is None:
        return [(own, Fraction(1))]
    low, high = target.addresses
    return [(IPv4Address(number), Fraction(1, high - low + 1)) for number in range(low, high + 1)]


def _port(port: int, target: NatRange) -> int:
    """A destination port stays if it is in the range; else it is the first one, or as far from it as from `base`."""
    assert target.ports
    low, high = target.ports
    if target.base:
        return low + (port - target.base) % (high - low + 1)
    return port if low <= port <= high else low


def _source_ports(packet: HookPacket, target: NatRange) -> str:
    """The ports of which the kernel takes one for the source's; "" if it keeps it."""
    if packet.protocol not in WITH_PORTS:
        return ""
    if target.ports and (target.random or not target.ports[0] <= packet.source_port <= target.ports[1]):
        return f"{target.ports[0]}-{target.ports[1]}"
    return "random" if target.random else ""
