"""Stale UDP flows in conntrack, which still lead to endpoints that are gone (pure).

Only the first packet of a flow traverses the nat table. TCP clients reconnect when an endpoint is gone, but a UDP
client that keeps sending keeps its flow, and with it the old translation. So, like kube-proxy since 1.32, nslab deletes
the flows to a Service whose replies would not come from one of its serving endpoints after each sync. Policies, hints
and the terminating condition do not matter: a flow stays with its endpoint, as a TCP connection does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.proxy.names import port_name
from nslab.ruletext.items import NodeCommand

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.proxy.model import Port, Proxy, ServiceInfo

LIST = NodeCommand(("conntrack", "-L", "-p", "udp"), "")
"""The command whose output `stale` reads."""
Place = tuple[str, str]
"""IP and port; the IP of a node port is "", because it is reachable at each of the node's addresses."""


class Flow(NamedTuple):
    """The client's original destination, and the expected source of replies."""

    to: Place
    answers: Place


def concerned(services: Iterable[ServiceInfo]) -> bool:
    """Whether there may be such flows at all: some Service has a UDP port."""
    return any(port.protocol == "UDP" for service in services if service.cluster_ip for port in service.ports)


def stale(
    listed: str,
    before: Iterable[ServiceInfo],
    after: Iterable[ServiceInfo],
    proxy: Proxy,
    ports: Mapping[tuple[str, str], int] | None = None,
) -> tuple[NodeCommand, ...]:
    """The commands that delete the stale flows of changed Services from conntrack; `listed`: the output of LIST.

    `ports`: in userspace mode, the ports at which the proxy process replies (`proxy_ports`).
    """
    behind: dict[Place, set[Place]] = {place: set() for service in before for place, _ in _fronts(service)}
    for service in after:
        for place, port in _fronts(service):
            ends = _ends(port) if ports is None else {("", str(ports[port_name(service, port), "udp"]))}
            behind.setdefault(place, set()).update(ends)
    flows = dict.fromkeys(_flows(listed))
    return tuple(_forget(flow) for flow in flows if _is_stale(flow, behind, proxy))


def _fronts(service: ServiceInfo) -> Iterator[tuple[Place, Port]]:
    """The addresses at which clients reach a Service's UDP ports."""
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
        # A line has src, dst, sport and dport twice: of the original direction, and of the reply direction. With
        # nf_conntrack_acct, which Calico turns on, packets and bytes are in between.
        original: dict[str, str] = {}
        reply: dict[str, str] = {}
        for name, equals, value in (word.partition("=") for word in line.split()):
            if equals:
                (reply if name in original else original)[name] = value
        if {"dst", "dport"} <= original.keys() and {"src", "sport"} <= reply.keys():
            yield Flow((original["dst"], original["dport"]), (reply["src"], reply["sport"]))


def _forget(flow: Flow) -> NodeCommand:
    to = ("--orig-dst", flow.to[0], "--orig-port-dst", flow.to[1])
    answers = ("--reply-src", flow.answers[0], "--reply-port-src", flow.answers[1])
    return NodeCommand(("conntrack", "-D", "-p", "udp", *to, *answers), "")
