"""Allocation by the API server and a load balancer: cluster IPs, node ports, load-balancer addresses.

| field | range | choice |
|---|---|---|
| cluster IP | the service network above its lowest addresses (for static use) | by hash of lab, namespace, name |
| cluster IP of the Service kubernetes | the service network | its first address (others get it last) |
| node port, healthCheckNodePort | 30086 to 32767 for the same reason, then from 30000 on | by hash, with the port |
| load balancer's address | the last sixteenth of the (first) node network: .240 to .254 of a /24 | the first free one |

The search starts at the hash and takes the first free value. With a hash in place of a counter, a new Service renumbers
no other. A value that a running lab has allocated stays, unless another object requests it.
"""

from __future__ import annotations

import hashlib
from itertools import chain
from typing import TYPE_CHECKING, Any

from nslab.api import service_document
from nslab.dataclass import replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from ipaddress import IPv4Address, IPv4Network

    from nslab.api.service_types import Service
    from nslab.lab.types import Lab

LOWEST, HIGHEST = 30000, 32767
LEFT_TO_PEOPLE = 86
"""The number of lowest node ports that are allocated last, as in Kubernetes (16 to 128, by the size of the range)."""
KUBERNETES = 1
"""The index in the service network of the address of the Service kubernetes (see nslab.lab.addons)."""
CLUSTER_IP, HEALTH, INGRESS = "clusterIP", "healthCheckNodePort", "ingress"


def unset_fields(spec: dict[str, Any], ingress: Sequence[Any]) -> frozenset[str]:
    """The fields that a Service needs and leaves unset."""
    kind, found = spec["type"], set()
    if kind != "ExternalName" and not service_document.cluster_ip(spec):
        found.add(CLUSTER_IP)
    if kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False):
        found |= {node_port(index) for index, port in enumerate(spec.get("ports", ())) if not port.get("nodePort")}
    if service_document.needs_health_check(spec) and not spec.get("healthCheckNodePort"):
        found.add(HEALTH)
    if kind == "LoadBalancer" and not ingress:
        found.add(INGRESS)
    return frozenset(found)


def allocate(lab: Lab, before: Iterable[Service] = ()) -> Lab:
    """The lab with its Services' unset fields allocated; a Service keeps the values it had `before` if possible."""
    if not any(service.allocated for service in lab.services):
        return lab
    previous = {(one.namespace, one.name): one for one in before}
    pools = _Pools(lab)
    kept = [pools.kept(service, previous.get((service.namespace, service.name))) for service in lab.services]
    services = tuple(pools.filled(service) if service.allocated else service for service in kept)
    return replace(lab, services=services)


class _Pools:
    """The taken values of each range, and the search for free ones."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        asked = [_asked(service) for service in lab.services]
        network = lab.networks.services
        self.addresses = {network[0], network[-1], lab.dns_address} | {one.cluster_ip for one in asked}
        self.ports = {number for one in asked for number in _numbers(one)}
        nodes = lab.networks.nodes[0]
        self.ingress = {nodes[0], nodes[1], nodes[-1]}
        self.ingress |= {node.address for node in lab.nodes} | {client.address for client in lab.clients}
        self.ingress |= {address for router in lab.routers for address in router.addresses}
        self.ingress |= {ip for one in asked for ip in one.load_balancer_ips}

    def kept(self, service: Service, had: Service | None) -> Service:
        """A Service without its allocated values, except those it `had` that are still free."""
        if not service.allocated:
            return service
        blank = _asked(service)
        if had is None:
            return blank
        made = blank
        address = had.cluster_ip
        free = address and address in self.lab.networks.services and address not in self.addresses
        if CLUSTER_IP in blank.allocated and free:
            made = replace(made, cluster_ip=address)
            self.addresses.add(address)
        if INGRESS in blank.allocated and had.load_balancer_ips and not self.ingress & {*had.load_balancer_ips}:
            made = replace(made, load_balancer_ips=had.load_balancer_ips)
            self.ingress |= {*had.load_balancer_ips}
        if HEALTH in blank.allocated and self._free(had.health_check_node_port):
            made = replace(made, health_check_node_port=had.health_check_node_port)
        numbers = {(port.port, port.protocol): port.node_port for port in had.ports}
        mine = {n for n in numbers.values() if self._free(n)}
        ports = tuple(
            replace(port, node_port=number) if node_port(index) in blank.allocated and number in mine else port
            for index, port in enumerate(made.ports)
            for number in [numbers.get((port.port, port.protocol), 0)]
        )
        made = replace(made, ports=ports)
        self.ports |= _numbers(made)
        return made

    def filled(self, service: Service) -> Service:
        """A Service with all its missing fields allocated."""
        key = f"{self.lab.name}/{service.namespace}/{service.name}"
        missing = service.allocated
        if CLUSTER_IP in missing and not service.cluster_ip:
            network = self.lab.networks.services
            spared = _spared(network)
            first = spared + _hash(key) % (network.num_addresses - spared)
            address = next((a for a in _round(network, first) if a not in self.addresses), None)
            self.addresses.add(address)
            service = replace(service, cluster_ip=address)
        if INGRESS in missing and not service.load_balancer_ips:
            nodes = self.lab.networks.nodes[0]
            free = (nodes[i] for i in range(_ingress_start(nodes), nodes.num_addresses))
            # If no address is left, the load balancer gets none: kubectl shows <pending>.
            service = replace(service, load_balancer_ips=tuple(a for a in free if a not in self.ingress)[:1])
            self.ingress |= {*service.load_balancer_ips}
        if HEALTH in missing and not service.health_check_node_port:
            service = replace(service, health_check_node_port=self._port(f"{key}/health"))
        ports = list(service.ports)
        for index, port in enumerate(ports):
            if node_port(index) in missing and not port.node_port:
                # A port with both TCP and UDP gets one node port, as in Kubernetes.
                twin = next((p.node_port for p in ports if p.port == port.port and p.node_port), 0)
                ports[index] = replace(port, node_port=twin or self._port(f"{key}/{port.port}"))
        return replace(service, ports=tuple(ports)) if tuple(ports) != service.ports else service

    def _free(self, number: int) -> bool:
        return LOWEST <= number <= HIGHEST and number not in self.ports

    def _port(self, key: str) -> int:
        """The first free node port, starting at a hash of `key`; 0 if there is none."""
        start, size = LOWEST + LEFT_TO_PEOPLE, HIGHEST - LOWEST - LEFT_TO_PEOPLE + 1
        first = _hash(key) % size
        tried = chain(range(start + first, HIGHEST + 1), range(start, start + first), range(LOWEST, start))
        number = next((n for n in tried if n not in self.ports), 0)
        self.ports.add(number)
        return number


def _asked(service: Service) -> Service:
    """A Service with only the values that its file requests."""
    if not service.allocated:
        return service
    out = service.allocated
    return replace(
        service,
        cluster_ip=None if CLUSTER_IP in out else service.cluster_ip,
        load_balancer_ips=() if INGRESS in out else service.load_balancer_ips,
        health_check_node_port=0 if HEALTH in out else service.health_check_node_port,
        ports=tuple(
            replace(port, node_port=0) if node_port(index) in out else port for index, port in enumerate(service.ports)
        ),
    )


def _numbers(service: Service) -> set[int]:
    """The node ports that a Service has."""
    return {service.health_check_node_port, *(port.node_port for port in service.ports)} - {0}


def node_port(index: int) -> str:
    """The name of a port's node port among the unset fields."""
    return f"ports[{index}].nodePort"


def _spared(network: IPv4Network) -> int:
    """The number of lowest addresses that are allocated last (Kubernetes: a sixteenth, from 16 to 256)."""
    size = network.num_addresses
    return min(max(16, size // 16), 256) if size > 32 else 0


def _round(network: IPv4Network, first: int) -> Iterator[IPv4Address]:
    """The addresses of a network from index `first` on, then those before it, the spared lowest ones last."""
    spared = _spared(network)
    order = chain(range(first, network.num_addresses), range(spared, first), range(spared))
    yield from (network[i] for i in order if i != KUBERNETES)
    yield network[KUBERNETES]


def _ingress_start(network: IPv4Network) -> int:
    """The index of the first load-balancer address: the last sixteenth, the last eight addresses, or the last half."""
    size = network.num_addresses
    return size - max(size // 16, min(size // 2, 8))


def _hash(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")
