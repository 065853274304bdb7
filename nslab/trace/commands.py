"""The commands that show a person what a hop says (pure). Without a lab (""), they are for the host itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.objects.names import netns
from nslab.quote import fill
from nslab.trace.rules.ruleset import LEGACY

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.trace.observed import RouteQuestion

_IPTABLES = ("raw", "mangle", "nat", "filter", "security")


def in_lab(lab: str, host: str, command: str) -> str:
    """A command in a host's namespace."""
    return fill("ip netns exec {} ", netns(lab, host)) + command if lab else command


def route(lab: str, question: RouteQuestion) -> str:
    """Asks the host's routing what it was asked."""
    space = fill("ip -n {}", netns(lab, question.host)) if lab else "ip"
    command = space + fill(" route get {}", str(question.header.target))
    if question.iif:
        command += fill(" from {} iif {}", str(question.header.source), question.iif)
    return command + (f" mark {question.mark:#x}" if question.mark else "")


def chain(lab: str, host: str, table: str, name: str) -> str:
    """Lists a chain. An nft table's name has its family before it, unless that is `ip`."""
    if table in _IPTABLES:
        return in_lab(lab, host, fill("iptables -t {} -S {}", table, name))
    if table.endswith(LEGACY):
        return in_lab(lab, host, fill("iptables-legacy -t {} -S {}", table.removesuffix(LEGACY), name))
    family, _, own = table.rpartition(" ")
    return in_lab(lab, host, fill("nft list chain {} {} {}", family or "ip", own, name))


def neighbours(lab: str, host: str, address: IPv4Address) -> str:
    """Lists what a host knows of the link-layer address of an address."""
    space = fill("ip -n {}", netns(lab, host)) if lab else "ip"
    return space + f" neigh show {address}"


def connections(lab: str, host: str, client: IPv4Address) -> str:
    """Lists the connections that a client began, as conntrack translates them."""
    return in_lab(lab, host, f"conntrack -L -s {client}")
