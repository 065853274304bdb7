"""Who may reach a pod, and whom it may reach, by a lab's NetworkPolicies (pure)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nslab.api.pod_types import Protocol
from nslab.dataclass import dataclass
from nslab.objects.names import pod_host
from nslab.probes.pairs import places, seen_as
from nslab.probes.policies import EPHEMERAL, Enforced

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.objects.needs import HostFeatures
    from nslab.policy.model import Direction
    from nslab.probes.probe import ProbeHost

ALL = "all"
_SOME_PORT = ((EPHEMERAL, "TCP"), (EPHEMERAL, "UDP"))


@dataclass(frozen=True, slots=True)
class Access:
    """What one end may ask of the other. `ports`: PORT/PROTOCOL of what it declares, `ALL`, or none.

    `policies`: those that deny what is denied, NAMESPACE/NAME.
    """

    ports: tuple[str, ...]
    policies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PodAccess:
    """A pod's access. `isolated`: by which policies, in each direction; `hosts`: from each host, and to it."""

    pod: str
    isolated: dict[Direction, tuple[str, ...]]
    hosts: dict[str, tuple[Access, Access]]


def access(lab: Lab, features: HostFeatures, host: str) -> PodAccess:
    """The access of a pod, by its host name, among all hosts of a lab whose pods have addresses.

    Policies see a node by the address from which it speaks: to pods of other nodes, that of its tunnel.
    """
    enforced, every = Enforced(lab), places(lab)
    own = next(place for place in every if place.name == host)
    asks = partial(_asks, lab, features, enforced)
    others = [place for place in every if place != own]
    found = {one.name: (asks(one, own), asks(own, one)) for one in others}
    return PodAccess(host, {way: enforced.isolating(own, way) for way in ("ingress", "egress")}, found)


def _asks(lab: Lab, features: HostFeatures, enforced: Enforced, source: ProbeHost, target: ProbeHost) -> Access:
    declared, seen = _declared(lab, target), seen_as(lab, features, source, target)
    denials = {port: enforced.denial(source, target, port[1], port[0], seen) for port in (*declared, *_SOME_PORT)}
    names = dict.fromkeys(name for denial in denials.values() if denial for name in denial.policies)
    if not any(denials.values()):
        return Access((ALL,))
    return Access(tuple(f"{number}/{kind}" for number, kind in declared if not denials[number, kind]), tuple(names))


def _declared(lab: Lab, target: ProbeHost) -> list[tuple[int, str]]:
    """The ports that a pod's containers declare, with their protocols."""
    pods = (pod for pod in lab.pods if pod_host(pod.namespace, pod.name) == target.name and target.role == "pod")
    ports = (port for pod in pods for container in pod.containers for port in container.ports)
    return list(dict.fromkeys((port.port, str(port.protocol)) for port in ports if port.protocol is not Protocol.SCTP))
