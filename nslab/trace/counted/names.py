"""Which Service a chain, a comment or an address of kube-proxy stands for (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.api.words import shown
from nslab.dataclass import dataclass
from nslab.errors import UsageError
from nslab.proxy.names import endpoint_hash, nft_name, port_hash, port_name
from nslab.trace.endpoints import way_on

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.proxy.model import Port, ServiceInfo

_SHARED = ("SVC", "SVL", "EXT", "FW", "XLB")
_NFT = ("service", "local", "external", "firewall", "affinity")


class PortName(NamedTuple):
    """A port of a Service. `name`: NAMESPACE/NAME:PORT; `protocol` in small letters."""

    name: str
    protocol: str


@dataclass(frozen=True, slots=True)
class ServiceNames:
    """The names of Services in a node's rules: in comments, of their chains, of their endpoints' chains, and addresses
    (protocol, IP, port; of node ports "" as IP). `pods`: NAMESPACE/NAME by IP:PORT.
    """

    ports: Mapping[str, PortName]
    chains: Mapping[str, PortName]
    endpoint_chains: Mapping[str, PortName]
    addresses: Mapping[tuple[str, str, int], PortName]
    pods: Mapping[str, str]

    def in_comment(self, comment: str) -> str:
        """The Service that a comment of kube-proxy names; "" if it names none of the lab's."""
        return next((word for word in comment.split() if word in self.ports), "")

    def of_chain(self, chain: str) -> str:
        """The Service whose chain, or whose endpoint's chain, it is; "" for any other."""
        found = self.chains.get(chain) or self.endpoint_chains.get(chain)
        return found.name if found else ""

    def at(self, protocol: str, address: str, port: int) -> PortName | None:
        """The Service at an address, or at a node port."""
        return self.addresses.get((protocol, address, port)) or self.addresses.get((protocol, "", port))


def service_names(services: Iterable[ServiceInfo]) -> ServiceNames:
    """The names of all Services that a kube-proxy sees."""
    ports: dict[str, PortName] = {}
    chains: dict[str, PortName] = {}
    ends: dict[str, PortName] = {}
    addresses: dict[tuple[str, str, int], PortName] = {}
    pods: dict[str, str] = {}
    for service in services:
        for port in service.ports:
            one = PortName(port_name(service, port), port.protocol.lower())
            ports[one.name] = one
            chains |= dict.fromkeys(_chains(service, port, one), one)
            ends |= dict.fromkeys(_endpoint_chains(service, port, one), one)
            addresses |= dict.fromkeys(_addresses(service, port, one.protocol), one)
            pods |= {f"{end.ip}:{end.port}": end.pod for end in port.endpoints if end.pod}
    return ServiceNames(ports, chains, ends, addresses, pods)


def _chains(service: ServiceInfo, port: Port, one: PortName) -> list[str]:
    hashed = port_hash(one.name, one.protocol)
    base = nft_name(f"{service.key}/{one.protocol}/{port.name}")
    return [*(f"KUBE-{kind}-{hashed}" for kind in _SHARED), *(f"{kind}-{base}" for kind in _NFT)]


def _endpoint_chains(service: ServiceInfo, port: Port, one: PortName) -> Iterator[str]:
    whole = f"{service.key}/{one.protocol}/{port.name}"
    for end in port.endpoints:
        yield f"KUBE-SEP-{endpoint_hash(one.name, one.protocol, f'{end.ip}:{end.port}')}"
        yield f"endpoint-{nft_name(f'{whole}__{end.ip}/{end.port}')}"


def _addresses(service: ServiceInfo, port: Port, protocol: str) -> list[tuple[str, str, int]]:
    own = (service.cluster_ip, *service.load_balancer_ips, *service.external_ips)
    node_port = [(protocol, "", port.node_port)] if port.node_port else []
    return [*((protocol, ip, port.port) for ip in own if ip), *node_port]


def chosen_service(services: Iterable[ServiceInfo], word: str) -> str:
    """NAMESPACE/NAME of the Service that a person names, by its name or with its namespace. UsageError for another."""
    keys = [service.key for service in services if service.cluster_ip]
    found = [key for key in keys if word in (key, key.removeprefix("default/"))]
    if found:
        return found[0]
    raise UsageError(f"there is no Service {shown(word)}{way_on(word, [key.removeprefix('default/') for key in keys])}")
