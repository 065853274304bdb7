"""FROM and TO of a trace on dumps: a dumped host's name, or an address (pure)."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING, NamedTuple

from nslab.api.words import shown
from nslab.errors import UsageError
from nslab.probes.probe import Kind
from nslab.trace.endpoints import IPV6_LATER, TraceTarget, split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.trace.dump.host import DumpedHost


class TraceStart(NamedTuple):
    """Where a packet begins: a dumped host; or the interface at which it comes in from another one, and why there."""

    host: str
    address: IPv4Address
    dev: str = ""
    why: str = ""


def target(hosts: Sequence[DumpedHost], word: str, kind: Kind | None) -> TraceTarget:
    """What TO means: HOST or ADDRESS, each with :PORT. UsageError if it is neither."""
    name, port = split(word)
    known = {host.name: host for host in hosts}
    address = _main_address(known[name]) if name in known else _address(name, hosts)
    if kind is not Kind.ICMP and not port:
        raise UsageError(f"say to which port: {word}:PORT, or --icmp for an echo")
    owner = next((host.name for host in hosts if host.owns(address)), "")
    return TraceTarget(word, kind or Kind.TCP, address, port, owner)


def start(hosts: Sequence[DumpedHost], word: str, aim: IPv4Address) -> TraceStart:
    """Where a packet from FROM begins. UsageError if it is not known at which host it comes in."""
    if ":" in word:
        raise UsageError(f"{shown(word)} {IPV6_LATER}" if word.count(":") > 1 else f"FROM has no port: {shown(word)}")
    for host in hosts:
        if host.name == word:
            return TraceStart(word, host.source(aim))
    address = _address(word, hosts)
    for host in hosts:
        if host.owns(address):
            return TraceStart(host.name, address)
    if address == aim:
        raise UsageError(f"FROM and TO are both {address}, of which there is no dump: no node sees that packet")
    return _comes_in(hosts, address, aim)


def _comes_in(hosts: Sequence[DumpedHost], address: IPv4Address, aim: IPv4Address) -> TraceStart:
    """At the host whose route to it is the most direct one; of several, at the one that has the target."""
    direct = {host.name: there for host in hosts if (there := host.routing.direct(address))}
    longest = max((length for _, length in direct.values()), default=0)
    best = {name: dev for name, (dev, length) in direct.items() if length == longest}
    if len(best) != 1:
        likely = [host for host in hosts if host.owns(aim) or len(hosts) == 1]
        best = {host.name: dev for host in likely if (dev := host.leads(address))}
    if len(best) != 1:
        where = f"{len(direct)} of the dumped hosts have it on a link" if direct else "no dumped host has it on a link"
        raise UsageError(
            f"where does a packet from {address} come in? {where}, and none of them has the address {aim}; "
            "give the dump of the host where it does alone"
        )
    ((name, dev),) = best.items()
    return TraceStart(name, address, dev, f"{name}'s way to {address} is by {dev}; there is no dump of {address}")


def _main_address(host: DumpedHost) -> IPv4Address:
    own = [one.address.ip for one in host.addresses if not one.host_only and not one.address.is_loopback]
    if not own:
        raise UsageError(f"{host.name} has no address but loopback ones")
    return own[0]


def _address(word: str, hosts: Sequence[DumpedHost]) -> IPv4Address:
    try:
        return IPv4Address(word)
    except AddressValueError:
        names = ", ".join(host.name for host in hosts[:12])
        ways = "give its address, or a dump of it, too"
        raise UsageError(f"{shown(word)} is no IPv4 address and no dumped host ({names}): {ways}") from None
