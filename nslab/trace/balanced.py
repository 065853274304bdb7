"""What IPVS makes of a packet for the host itself, in a prediction (pure)."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from nslab.dataclass import replace as changed
from nslab.quote import fill
from nslab.trace.branch import ended, times
from nslab.trace.hops import Action, End
from nslab.trace.rules.packet import TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.branch import Branch
    from nslab.trace.ipvs import DumpedRealServer, DumpedVirtualServer
    from nslab.trace.predicted_host import PredictedHosts

_OPTIONS = {TCP: "-t", UDP: "-u"}


def balanced(hosts: PredictedHosts, branch: Branch, dev: str) -> Iterator[Branch]:
    """One branch for each real server; none if the packet is for no virtual server."""
    packet = branch.packet
    found = hosts.virtual_servers(branch.ns).get((packet.protocol, packet.destination, packet.destination_port))
    if found is None or packet.reply:
        return
    servers = [one for one in found.servers if one.weight]
    total = sum(one.weight for one in servers)
    for server in servers:
        chance = Fraction(1, len(servers)) if found.scheduler == "rr" else Fraction(server.weight, total)
        yield _to_server(hosts, branch, dev, found, server, chance if found.even or len(servers) == 1 else None)
    if not servers:
        where = f"{packet.destination}:{packet.destination_port}"
        yield ended(branch, End.REFUSED, f"{hosts.name(branch.ns)}'s IPVS has no real server for {where}")


def _to_server(
    hosts: PredictedHosts,
    branch: Branch,
    dev: str,
    virtual: DumpedVirtualServer,
    server: DumpedRealServer,
    chance: Fraction | None,
) -> Branch:
    packet, scheduler = branch.packet, virtual.scheduler[:12]
    doubts = (f"ipvs: scheduler {scheduler}",) if chance is None else ()
    if server.forwarding != "-m":
        doubts = (*doubts, f"ipvs: {server.forwarding} instead of -m")
    new = changed(
        packet, destination=server.address, destination_port=server.port, status=packet.status | {"DNAT"}, iif="",
        origin=packet.origin or packet.flow,
    )  # fmt: skip
    on = changed(branch, packet=new, chance=times(branch.chance, chance), doubts=(*branch.doubts, *doubts))
    where = f"{packet.destination}:{packet.destination_port}"
    show = fill("ipvsadm -Ln {} {}", _OPTIONS.get(packet.protocol, "--sctp-service"), where)
    cause, command = f"IPVS {where} {scheduler}", hosts.command(branch.ns, show)
    return hosts.hop(on, Action.DNAT, dev=dev, before=packet, cause=cause, by="IPVS", command=command)
