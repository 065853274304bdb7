"""What a lab's Felixes know: its policies, pods and namespaces, and each one's node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, tunnel_address
from nslab.compiler.overlay import IPIP_DEVICE, VXLAN_DEVICE, VXLAN_MODES
from nslab.lab import policy_views
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.policy.model import DEFAULT_DATAPLANE, Cluster, FelixNode, NamedPort, WorkloadEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node


def cluster(lab: Lab, *, ended: bool = False) -> Cluster:
    """What all nodes of a lab, whose pods have addresses, have in common. `ended`: with the pods that have ended."""
    return Cluster(
        policy_views.network_policies(lab.others),
        tuple(workload(pod) for pod in lab.pods if not pod.host_network and (ended or not pod.finished)),
        policy_views.namespaces(lab.others),
        (str(lab.networks.pods),),
    )


def workload(pod: Pod) -> WorkloadEndpoint:
    """A pod as policies see it."""
    return WorkloadEndpoint(
        pod.namespace,
        pod.name,
        str(address_of(pod)),
        pod.node,
        pod.labels,
        pod.service_account,
        tuple(_named_ports(pod)),
    )


def felix_node(lab: Lab, node: Node) -> FelixNode:
    """A node's Felix."""
    tunnel, own = tunnel_address(lab, node), str(node.address)
    vxlan = lab.encapsulation in VXLAN_MODES
    device = "" if lab.encapsulation is Encapsulation.NONE else VXLAN_DEVICE if vxlan else IPIP_DEVICE
    nodes = (str(one.address) for one in lab.nodes if one != node or not vxlan)
    announced = tuple(map(str, lab.bgp.services)) if lab.bgp else ()
    addresses = (own, str(tunnel)) if tunnel else (own,)
    return FelixNode(
        node.name,
        addresses,
        device,
        tuple(nodes),
        lab.calico_version,
        announced,
        lab.dataplane,
        ipvs=lab.proxy_mode is ProxyMode.IPVS and lab.dataplane == DEFAULT_DATAPLANE,
    )


def _named_ports(pod: Pod) -> Iterator[NamedPort]:
    for container in pod.containers:
        yield from (NamedPort(port.name, port.port, port.protocol.value) for port in container.ports if port.name)
