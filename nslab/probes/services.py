"""The calls to Services and their expected answers, for each proxy mode, derived without its rules (pure)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.compiler.addresses import network_host
from nslab.compiler.endpoints import resolve, seen
from nslab.compiler.services import proxy_of, ways_in
from nslab.dataclass import dataclass, replace
from nslab.lab.types import ProxyMode
from nslab.objects import names
from nslab.probes.calls import Answer, Call, Way
from nslab.probes.host_ports import host_port_calls
from nslab.probes.pairs import agnhost_port, among, has_way, meant, places, seen_as, stand_in_ports
from nslab.probes.policies import Enforced
from nslab.probes.probe import ProbeHost
from nslab.probes.spread import Spread, spread_of
from nslab.probes.translated import keeps_source, reached

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab
    from nslab.objects.needs import HostFeatures
    from nslab.proxy.model import Endpoint, Port, ServiceInfo

TIMES, DIFFERING_TIMES, SPREAD_TIMES = 4, 8, 200
ALL_CALLS = 400
"""Up to this number of pairs of source and port, each is called; beyond it, a sample."""
SPREAD_NODES = 3
DOMAIN = "cluster.local"


@dataclass(frozen=True, slots=True)
class ServiceSurvey:
    """The calls, and their number of pairs (source, port) out of all. `spread`: run last and separately."""

    places: tuple[ProbeHost, ...]
    calls: tuple[Call, ...]
    spread: tuple[Call, ...]
    asked: int
    possible: int

    @property
    def note(self) -> str:
        """A note that this is a sample; "" if it is not."""
        if self.asked == self.possible:
            return ""
        return f"{self.asked} of {self.possible} pairs of hosts and Services: each host asks two; --from chooses others"


def survey_services(
    lab: Lab, host: HostFeatures, sources: Sequence[str] = (), differing: Collection[str] = ()
) -> ServiceSurvey:
    """All calls to the lab's Services (its pods have addresses), or those of `sources`.

    `differing`: the nodes whose rules differ. They may choose among more endpoints than there are, so that one
    connection proves nothing.
    """
    asking, sources = _Asking(lab, host), meant(lab, sources)
    ports = [(service, port) for service in asking.services for port in service.ports if asking.speaks(service, port)]
    if lab.proxy_mode is ProxyMode.NONE:
        ports = []
    askers = [place for place in asking.askers if among(place.name, sources)]
    pairs = [(asker, service, port) for asker in askers for service, port in ports]
    chosen = pairs if len(pairs) <= ALL_CALLS else [*_sample(askers, ports)]
    calls = tuple(
        call for asker, service, port in chosen for call in asking.calls(asker, service, port) if _tells(call)
    )
    node_ports = {(port.node_port, port.protocol) for service in asking.services for port in service.ports}
    mapped = tuple(host_port_calls(lab, askers, node_ports))
    calls = tuple(
        replace(call, times=max(call.times, DIFFERING_TIMES)) if call.answers and call.node in differing else call
        for call in calls
    )
    spread = tuple(asking.spreads(askers, ports[: ALL_CALLS // 20]))
    return ServiceSurvey(asking.askers, (*calls, *mapped), spread, len(chosen), len(pairs))


def _tells(call: Call) -> bool:
    """Whether a call is conclusive: over UDP, only if the server identifies itself. (Calls by name test DNS.)"""
    return call.asks or call.protocol != "UDP"


def _sample(
    askers: Sequence[ProbeHost], ports: Sequence[tuple[ServiceInfo, Port]]
) -> Iterator[tuple[ProbeHost, ServiceInfo, Port]]:
    for turn, asker in enumerate(askers):
        for at in sorted({turn % len(ports), (turn + len(ports) // 2) % len(ports)}):
            yield asker, *ports[at]


class _Asking:
    """A lab from the prober's perspective."""

    def __init__(self, lab: Lab, host: HostFeatures) -> None:
        self.lab, self.host = lab, host
        self.services = seen(resolve(lab))
        self.askers = places(lab)
        self.places = {place.name: place for place in places(lab, leaving=True)}
        self._pods = {f"{pod.namespace}/{pod.name}": pod for pod in lab.pods}
        self._enforced = Enforced(lab)
        self._proxies = {node.name: proxy_of(lab, node, host, self.services) for node in lab.nodes}
        by_address = {node.address: node.name for node in lab.nodes}
        self._ways = by_address | {ip: node.name for ip, node in ways_in(lab, self.services).items()}

    def speaks(self, service: ServiceInfo, port: Port) -> bool:
        """Whether the port can be called: an ExternalName is outside the lab, and not every kernel supports SCTP."""
        if port.protocol == "SCTP" and not (self.host.sctp and self.lab.proxy_mode is not ProxyMode.USERSPACE):
            return False
        return not service.external_name

    def calls(self, asker: ProbeHost, service: ServiceInfo, port: Port) -> Iterator[Call]:
        """The calls of one host to one port: pods and nodes by cluster IP, clients from outside."""
        match asker.role:
            case "pod":
                if service.cluster_ip:
                    yield self._call(asker, service, port, Way.CLUSTER_IP, asker.node, (service.cluster_ip,))
                if self.lab.dns_address:
                    yield from self._named(asker, service, port)
            case "node" if service.cluster_ip:
                yield self._call(asker, service, port, Way.CLUSTER_IP, asker.node, (service.cluster_ip,))
            case "client":
                yield from self._from_outside(asker, service, port)

    def spreads(self, askers: Sequence[ProbeHost], ports: Sequence[tuple[ServiceInfo, Port]]) -> Iterator[Call]:
        """Many connections from one host of each node, to test their distribution.

        TCP only: over UDP a client's port may repeat so soon that conntrack treats it as the same flow.
        """
        for node in self.lab.nodes[:SPREAD_NODES]:
            asker = next((place for place in askers if place.node == node.name), None)
            for service, port in ports if asker else ():
                assert asker
                if service.cluster_ip and port.protocol == "TCP":
                    rule = spread_of(self.lab.proxy_mode, self.lab.scheduler, service)
                    call = self._call(
                        asker, service, port, Way.CLUSTER_IP, node.name, (service.cluster_ip,), SPREAD_TIMES, rule
                    )
                    if len(call.answers) > 1 and call.asks and rule is not Spread.ANY and not call.lost:
                        yield call

    def _from_outside(self, asker: ProbeHost, service: ServiceInfo, port: Port) -> Iterator[Call]:
        if port.node_port:
            for node in self.lab.nodes:
                yield self._call(asker, service, port, Way.NODE_PORT, node.name, (str(node.address),))
        for way, addresses in (
            (Way.LOAD_BALANCER, service.load_balancer_ips),
            (Way.EXTERNAL_IP, service.external_ips),
        ):
            for address in addresses:
                if at := self._ways.get(IPv4Address(address)):
                    yield self._call(asker, service, port, way, at, (address,))

    def _named(self, asker: ProbeHost, service: ServiceInfo, port: Port) -> Iterator[Call]:
        if service.cluster_ip:
            yield self._call(asker, service, port, Way.NAME, asker.node, (service.cluster_ip,), 1)
        elif ends := [end for end in port.endpoints if end.ready]:
            # DNS resolves a headless Service's name to its endpoints: no proxy is involved.
            there = self._allowed(asker, asker, self._with_way(asker, ends), port.protocol)
            answers = self._answers(asker, there, lambda pod: seen_as(self.lab, self.host, asker, pod))
            yield Call(
                asker.name, service.key, port.name, port.protocol, Way.NAME, asker.node,
                tuple(IPv4Address(end.ip) for end in ends), ends[0].port, answers=answers,
                asks=self._agnhost(port, ends), name=_name(service), lost=there != ends or self._deaf(asker),
            )  # fmt: skip

    def _call(
        self,
        asker: ProbeHost,
        service: ServiceInfo,
        port: Port,
        way: Way,
        node: str,
        addresses: tuple[str, ...],
        times: int = TIMES,
        spread: Spread | None = None,
    ) -> Call:
        """One call to an address that the rules of `node` translate."""
        proxy = self._proxies[node]
        outcome, ends = reached(self.lab.proxy_mode, service, port, proxy, asker, way)
        near = self.places[node]
        there = self._allowed(asker, near, self._with_way(near, ends), port.protocol, local=service.external_local)
        unsure = self._enforced.undecided(asker, *(end for end in map(self._host, ends) if end))

        def sees(pod: ProbeHost) -> IPv4Address | None:
            if keeps_source(self.lab.proxy_mode, service, asker, near, pod, way):
                return seen_as(self.lab, self.host, asker, pod)
            # MASQUERADE on lo takes the address of the oldest interface that has one.
            return None if asker == near == pod else seen_as(self.lab, self.host, near, pod)

        answers = self._answers(asker, there, sees)
        sticky = Spread.STICKY if spread_of(self.lab.proxy_mode, self.lab.scheduler, service) is Spread.STICKY else None
        return Call(
            asker.name,
            service.key,
            port.name,
            port.protocol,
            way,
            node,
            tuple(map(IPv4Address, addresses)),
            port.node_port if way is Way.NODE_PORT else port.port,
            outcome,
            answers,
            self._agnhost(port, ends),
            _name(service) if way is Way.NAME else "",
            times if len(ends) > 1 else 1,
            spread or sticky or Spread.ANY,
            "" if way in (Way.CLUSTER_IP, Way.NAME) else "Local" if service.external_local else "Cluster",
            unsure or len(there) < len(ends) or (way is Way.NAME and self._deaf(asker)),
        )

    def _allowed(
        self, asker: ProbeHost, near: ProbeHost, ends: Sequence[Endpoint], protocol: str, *, local: bool = False
    ) -> list[Endpoint]:
        """The endpoints to which NetworkPolicies let a host connect. `near`: where its packets are translated.

        `local`: the client's address stays, wherever they are.
        """

        def denied(end: Endpoint) -> bool:
            target = self._host(end) or ProbeHost(end.ip, "client", IPv4Address(end.ip))
            if self._enforced.undecided(asker, target):
                return False
            source = seen_as(self.lab, self.host, near, target)
            seen = source if asker == near or (target.node != near.node and not local) else asker.address
            return self._enforced.denial(asker, target, protocol, end.port, seen) is not None

        return [end for end in ends if not denied(end)]

    def _host(self, end: Endpoint) -> ProbeHost | None:
        """The pod behind an endpoint, if it is one of the lab; its node, if it has that one's network."""
        pod = self._pods.get(end.pod)
        return self.places[network_host(pod)] if pod else None

    def _with_way(self, sender: ProbeHost, ends: Sequence[Endpoint]) -> list[Endpoint]:
        """The endpoints that packets from a host can reach: all but pods behind a router without routes to them."""
        hosts = [(end, self._host(end)) for end in ends]
        return [end for end, pod in hosts if not pod or pod.role != "pod" or has_way(self.lab, sender, pod)]

    def _deaf(self, pod: ProbeHost) -> bool:
        """Whether a pod cannot reach some server of the cluster's DNS."""
        servers = [
            end
            for service in self.services
            if service.cluster_ip == str(self.lab.dns_address)
            for port in service.ports
            for end in port.endpoints
            if port.protocol == "UDP"
        ]
        return len(self._allowed(pod, pod, self._with_way(pod, servers), "UDP")) < len(servers)

    def _answers(
        self, asker: ProbeHost, ends: Sequence[Endpoint], sees: Callable[[ProbeHost], IPv4Address | None]
    ) -> tuple[Answer, ...]:
        pods = [self._pods[end.pod] for end in ends if end.pod in self._pods]
        found = [(pod, self.places[network_host(pod)]) for pod in pods]
        return tuple(
            Answer(names.pod_host(pod.namespace, pod.name), pod.uts_name, sees(place), place.node == asker.node)
            for pod, place in found
        )

    def _agnhost(self, port: Port, ends: Sequence[Endpoint]) -> bool:
        """Whether every endpoint is agnhost, which identifies itself."""
        pods = [(self._pods.get(end.pod), end.port) for end in ends]
        return all(pod and number in _agnhost_ports(pod, port.protocol) for pod, number in pods)


def _agnhost_ports(pod: Pod, protocol: str) -> set[int]:
    flag, default = _FLAGS[protocol]
    stand_ins = {port for container in pod.containers for port in stand_in_ports(container, protocol)}
    return {agnhost_port(container, flag, default) for container in pod.containers} - {0} | stand_ins


_FLAGS = {"TCP": ("http-port", 8080), "UDP": ("udp-port", 8081), "SCTP": ("sctp-port", -1)}


def _name(service: ServiceInfo) -> str:
    return f"{service.name}.{service.namespace}.svc.{DOMAIN}"
