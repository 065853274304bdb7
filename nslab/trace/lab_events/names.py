"""The Kubernetes names of addresses and interfaces (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.objects.names import cali, kubenet_veth
from nslab.probes.pairs import places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.lab.types import Lab
    from nslab.trace.counted.names import ServiceNames


@dataclass(frozen=True, slots=True)
class EventNames:
    """Hosts by address, pods (NAMESPACE/NAME) by their nodes' interfaces, and Services."""

    hosts: Mapping[str, str]
    interfaces: Mapping[str, str]
    services: ServiceNames

    def after(self, before: EventNames) -> EventNames:
        """These names, and those that were known before: a pod's links and connections go after the pod itself."""
        return EventNames({**before.hosts, **self.hosts}, {**before.interfaces, **self.interfaces}, self.services)

    def host(self, address: str) -> str:
        """Whose address it is; "" if it is nobody's. It may have a length: `A/24`."""
        return self.hosts.get(address.partition("/")[0], "")

    def address(self, address: str) -> str:
        """An address, after the name of its host if it has one."""
        return f"{name} {address}" if (name := self.host(address)) else address

    def end(self, protocol: str, address: str, port: int) -> str:
        """One end of a connection: pod or Service, address and port."""
        service = self.services.at(protocol, address, port)
        where = f"{address}:{port}" if port else address
        if service:
            return f"Service {service.name} {where}"
        return f"{name} {where}" if (name := self.host(address)) else where


def event_names(lab: Lab, services: ServiceNames) -> EventNames:
    """The names in a lab."""
    interfaces: dict[str, str] = {}
    for pod in lab.pods:
        name = f"{pod.namespace}/{pod.name}"
        interfaces |= {cali(pod.namespace, pod.name): name, kubenet_veth(pod.namespace, pod.name): name}
    hosts = {str(place.address): place.name for place in places(lab)}
    return EventNames(hosts, interfaces, services)
