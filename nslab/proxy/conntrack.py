"""Flows of UDP that the kernel would go on sending to where nobody is any more (pure).

A rule of nat is asked for the first packet of a flow alone; TCP begins anew when an endpoint is gone, but a UDP client
that asks again and again keeps its flow, and with it the old translation. So, as kube-proxy does since 1.32: after a
sync, flows to a Service whose answers would not come from one of its endpoints that serve are forgotten. Policies,
hints and that an endpoint terminates do not matter: a flow stays where it is, as a connection of TCP does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.proxy.names import port_name
from nslab.ruletext.items import Command

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.proxy.model import Port, Proxy, Service

LIST = Command(("conntrack", "-L", "-p", "udp"), "")
"""What `stale` wants to read."""
Place = tuple[str, str]
"""IP and port; a node port has no IP, as it is reached at each of the node's."""


class Flow(NamedTuple):
    """Where the client sends, and where answers are expected from."""

    to: Place
    answers: Place


def concerned(services: Iterable[Service]) -> bool:
    """Whether there may be such flows at all."""
    return any(port.protocol == "UDP" for service in services if service.cluster_ip for port in service.ports)


def stale(
    listed: str,
    before: Iterable[Service],
    after: Iterable[Service],
    proxy: Proxy,
    ports: Mapping[tuple[str, str], int] | None = None,
) -> tuple[Command, ...]:
    """What makes the kernel forget flows of Services that changed, by the output of LIST.

    `ports`: of userspace mode, where it is the proxy process that answers, at a port of its own (`proxy_ports`).
    """
    behind: dict[Place, set[Place]] = {place: set() for service in before for place, _ in _fronts(service)}
    for service in after:
        for place, port in _fronts(service):
            ends = _ends(port) if ports is None else {("", str(ports[port_name(service, port), "udp"]))}
            behind.setdefault(place, set()).update(ends)
    found = dict.fromkeys(_flows(listed))
    return tuple(_forget(flow) for flow in found if _is_stale(flow, behind, proxy))


def _fronts(service: Service) -> Iterator[tuple[Place, Port]]:
    """Where clients reach its ports."""
    for port in service.ports if service.cluster_ip else ():
        if port.protocol == "UDP":
            for ip in (service.cluster_ip, *service.external_ips, *service.load_balancer_ips):
                yield (ip, str(port.port)), port
            if port.node_port:
                yield ("", str(port.node_port)), port


def _ends(port: Port) -> set[Place]:
    return {(end.ip, str(end.port)) for end in port.endpoints if end.serving}


def _is_stale(flow: Flow, behind: dict[Place, set[Place]], proxy: Proxy) -> bool:
    ip, port = flow.to
    own = ip in proxy.addresses or ip.startswith("127.")
    ends = behind.get(flow.to, behind.get(("", port)) if own else None)
    return ends is not None and not {flow.answers, ("", flow.answers[1])} & ends


def _flows(listed: str) -> Iterator[Flow]:
    for line in listed.splitlines():
        # Twice src, dst, sport and dport: of the packets that came, and of their answers. Where the kernel counts
        # (nf_conntrack_acct, which Calico turns on), packets and bytes stand in between.
        there: dict[str, str] = {}
        back: dict[str, str] = {}
        for name, equals, value in (word.partition("=") for word in line.split()):
            if equals:
                (back if name in there else there)[name] = value
        if {"dst", "dport"} <= there.keys() and {"src", "sport"} <= back.keys():
            yield Flow((there["dst"], there["dport"]), (back["src"], back["sport"]))


def _forget(flow: Flow) -> Command:
    to = ("--orig-dst", flow.to[0], "--orig-port-dst", flow.to[1])
    answers = ("--reply-src", flow.answers[0], "--reply-port-src", flow.answers[1])
    return Command(("conntrack", "-D", "-p", "udp", *to, *answers), "")
