"""The service network: the kernel objects on each node that make Services reachable, beside the plugin's rules."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.compiler.endpoints import resolve, seen
from nslab.compiler.items import objects
from nslab.compiler.networks import network
from nslab.compiler.subnets import egress, next_hop
from nslab.compiler.underlay import UPLINK, interface
from nslab.compiler.written_by import WrittenBy
from nslab.dataclass import replace
from nslab.lab.addons import with_api_service
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.objects import names
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp
from nslab.objects.process import Control, KubeProxy
from nslab.objects.routes import Route
from nslab.proxy import model
from nslab.proxy.mode import whole
from nslab.proxy.modes import mode
from nslab.proxy.sync import is_large

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures

_API, _BY = "API server", "kube-proxy"


def api_server(lab: Lab) -> Iterator[KernelObject]:
    """The API server's process, from which the nodes learn of Services; it has a network namespace of its own."""
    if watched(lab):
        ns = names.netns(lab.name, names.CONTROL)
        yield Netns(ns, by=_API)
        yield LinkUp(ns, "lo", by=_API)
        yield Control(ns, ns, by=_API)


def services(lab: Lab, host: HostFeatures, written_by: WrittenBy) -> Iterator[KernelObject]:
    """The routes to Services from outside, each node's rules, its kube-proxy, and the network plugin's agent.

    The rules are among them if `written_by` is NSLAB. The network plugin's come first in their chains.
    """
    resolved = seen(resolve(with_api_service(lab)))
    yield from announced(lab, resolved)
    watching = lab.nodes if lab.proxy_mode is not ProxyMode.NONE else ()
    proxies = {node.name: proxy_of(lab, node, host, resolved) for node in watching}
    plugin = network(lab)
    if written_by is WrittenBy.NSLAB:
        plugins = plugin.agent_rules(lab)
        for node in lab.nodes:
            proxy = proxies.get(node.name)
            written = {_BY: whole(mode(proxy.mode), resolved, proxy)} if proxy else {}
            written[plugin.AGENT] = plugins.get(node.name, {})
            yield from objects(names.netns(lab.name, node.name), written)
    for node in watching:
        ns = names.netns(lab.name, node.name)
        settings = model.to_json(_started(lab, node, proxies[node.name]))
        yield KubeProxy(ns, ns, json.dumps(settings, sort_keys=True), by=_BY)
    for node in lab.nodes:
        yield from plugin.agent(lab, host, node)


def announced(lab: Lab, resolved: Iterable[model.ServiceInfo]) -> Iterator[KernelObject]:
    """Routes on clients and routers that send packets for load-balancer and external addresses to a node.

    No node has such an address: on a real network a load balancer, MetalLB or an administrator's route does this.
    """
    for ip, node in ways_in(lab, resolved).items():
        for router in lab.routers:
            number, via = egress(lab, router, node.address)
            yield _way_in(lab, router.name, ip, interface(number), via)
    for client in lab.clients:
        for ip, node in ways_in(lab, resolved).items():
            yield _way_in(lab, client.name, ip, UPLINK, next_hop(lab, client.address, node.address))


def _way_in(lab: Lab, host: str, ip: IPv4Address, dev: str, via: IPv4Address) -> KernelObject:
    return Route(names.netns(lab.name, host), IPv4Network(ip), dev, via=via, protocol="static", by="load balancer")


def ways_in(lab: Lab, resolved: Iterable[model.ServiceInfo]) -> dict[IPv4Address, Node]:
    """The node to which each load-balancer address and each external address is routed."""
    return {
        IPv4Address(ip): next((node for node in lab.nodes if node.name in _taken_by(service)), lab.nodes[0])
        for service in resolved
        for ip in (*service.load_balancer_ips, *service.external_ips)
        if IPv4Address(ip) not in {node.address for node in lab.nodes}
    }


def _taken_by(service: model.ServiceInfo) -> set[str]:
    """The nodes that a load balancer prefers: those with endpoints.

    With the policy Local the endpoints must be ready: the health check tests that. With Cluster any node forwards, so
    the clients' routes need not follow the pods' readiness.
    """
    ends = (end for port in service.ports for end in port.endpoints)
    return {end.node for end in ends if end.ready or not service.external_local}


def watched(lab: Lab) -> bool:
    """Whether the lab needs an API server: it has Services, or components that watch."""
    return bool(lab.services or lab.proxy_mode is not ProxyMode.NONE or network(lab).AGENT)


def proxy_of(lab: Lab, node: Node, host: HostFeatures, resolved: Iterable[model.ServiceInfo]) -> model.Proxy:
    """The configuration of a node's kube-proxy."""
    return model.Proxy(
        node=node.name,
        addresses=tuple(map(str, node_addresses(lab, node))),
        mode=str(lab.proxy_mode),
        cluster_cidr=str(lab.networks.pods),
        service_cidr=str(lab.networks.services),
        iptables=host.iptables,
        scheduler=lab.scheduler,
        zone=node.zone,
        large=is_large(resolved),
        bind=network(lab).userspace_bind(node),
    )


def _started(lab: Lab, node: Node, proxy: model.Proxy) -> model.Proxy:
    """The settings of a kube-proxy's process, which no change of the encapsulation or of endpoints concerns.

    It knows which of the addresses the node has at the moment, and counts the endpoints itself.
    """
    tunnelled = replace(lab, encapsulation=Encapsulation.IPIP)
    return replace(proxy, addresses=tuple(map(str, node_addresses(tunnelled, node))), large=False)


def node_addresses(lab: Lab, node: Node) -> Iterator[IPv4Address]:
    """A node's addresses, the one on the node network first."""
    yield node.address
    yield from network(lab).node_addresses(lab, node)
