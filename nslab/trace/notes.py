"""What a person should know of a journey that its hops do not show (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.pod_types import Protocol
from nslab.lab.types import ProxyMode
from nslab.probes.probe import Kind
from nslab.trace.hops import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.api.service_types import Service
    from nslab.lab.types import Lab
    from nslab.trace.endpoints import TraceTarget
    from nslab.trace.hops import Hop

_PROTOCOLS = {Kind.TCP: Protocol.TCP, Kind.UDP: Protocol.UDP}


def notes(
    lab: Lab, every: Sequence[Hop], begin: str, aim: TraceTarget, *, delivered: bool, renewed: bool = False,
    relayed: bool = False, endpoints: bool = True,
) -> Iterator[str]:  # fmt: skip
    """Sentences about the Service and its proxy. `begin`: the host that sends.

    `renewed`: it had an affinity before; `relayed`: kube-proxy's own connection was followed;
    `endpoints`: in userspace mode, whether there is one for it.
    """
    nodes = {node.name for node in lab.nodes}
    taken = any(hop.action is Action.RECEIVE and hop.host in nodes for hop in every)
    taken = taken and any(hop.action is Action.DNAT for hop in every)
    if lab.proxy_mode is ProxyMode.USERSPACE and taken and not relayed:
        if endpoints:
            yield "kube-proxy takes the connection and makes its own to an endpoint, which was not seen, or not alone"
        else:
            yield "kube-proxy takes the connection, has no endpoint for it, and closes it"
    service = next((one for one in lab.services if f"{one.namespace}/{one.name}" == aim.service), None)
    if not service:
        return
    if service.affinity:
        yield from _affinity(lab, service, aim, renewed=renewed)
    if not delivered:
        yield from _not_served(service, aim)
        if begin in {client.name for client in lab.clients}:
            yield _from_outside(lab, service, aim)


def _affinity(lab: Lab, service: Service, aim: TraceTarget, *, renewed: bool) -> Iterator[str]:
    """What `trace` cannot take back of it."""
    if renewed:
        yield (
            f"Service {aim.service} has ClientIP affinity: the sender had this endpoint already, and its time of "
            f"{service.affinity} s begins anew"
        )
    elif lab.proxy_mode in (ProxyMode.IPVS, ProxyMode.USERSPACE):
        yield f"Service {aim.service} has ClientIP affinity: for {service.affinity} s the sender keeps this endpoint"


def _not_served(service: Service, aim: TraceTarget) -> Iterator[str]:
    """Why kube-proxy has no rule for the packet: it passes the nodes as if there were no Service."""
    protocol = _PROTOCOLS.get(aim.kind)
    if not protocol:
        yield f"Service {aim.service} is for its ports: kube-proxy has no rule for an ICMP echo; trace one to a pod"
    elif (aim.port, protocol) not in {(one.port, one.protocol) for one in service.ports}:
        has = ", ".join(f"{one.port}/{one.protocol}" for one in service.ports)
        yield f"Service {aim.service} has no port {aim.port}/{protocol}: it has {has}"


def _from_outside(lab: Lab, service: Service, aim: TraceTarget) -> str:
    ports = [one.node_port for one in service.ports if one.node_port]
    node = lab.nodes[0].name
    way = f"; call {node}:{ports[0]}" if ports else f": it has no node port (its type is {service.type})"
    return f"{aim.address} is a ClusterIP, which nodes and pods alone reach{way}"
