"""CNI plugins by exec: what a container runtime passes to the plugins of a configuration for each pod."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from nslab.cni.chain import Program, Wiring
from nslab.compiler.addresses import address_of, host_local, networked, pod_netns
from nslab.compiler.networks import whole
from nslab.compiler.networks.bridged import forwarding
from nslab.compiler.networks.kubenet import masquerade, node_routes
from nslab.compiler.portmap import container_id
from nslab.compiler.underlay import ETHERNET_MTU
from nslab.lab.host_ports import host_ports
from nslab.lab.plugins import PLUGIN_PATHS, network_of, node_config
from nslab.objects import names
from nslab.objects.attachment import Attachment
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.api.pod_types import Pod
    from nslab.cni.config import NetworkConfig
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import HostFeatures

_BY = "container runtime"
IFNAME = "eth0"
REMEMBERS, KEEPS, BY_HAND = True, True, False
WIRED_BY = "CNI plugins"


def objects(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """The pod network as CNI plugins make it, and the parts of a cluster's network that plugins do not make."""
    assert lab.cni
    for node in lab.nodes:
        ns, network = names.netns(lab.name, node.name), network_of(lab, node)
        yield from forwarding(ns, host, "kubelet")
        # bridge with host-local knows one node only; in a cloud, the route controller adds the routes to the others.
        if lab.cni.routes:
            yield from node_routes(lab, node)
        if lab.cni.masquerade:
            yield from masquerade(lab, node, "ip-masq-agent: SNAT for outbound traffic from cluster", "ip-masq-agent")
        for pod in networked(lab, node):
            yield Netns(pod_netns(lab, pod), by="kubelet")
            yield LinkUp(pod_netns(lab, pod), "lo", by=_BY)
            yield attachment(lab, node, pod, network, host)


def attachment(lab: Lab, node: Node, pod: Pod, network: NetworkConfig, host: HostFeatures) -> Attachment:
    """The arguments with which a node's runtime calls the plugins for one pod."""
    assert lab.cni
    found, ns, container = dict(host.programs), pod_netns(lab, pod), container_id(lab, pod)
    wiring = Wiring(
        network=network,
        programs=tuple(found.get(name, Program(f"{PLUGIN_PATHS[0]}/{name}")) for name in network.programs),
        container=container,
        netns=f"/run/netns/{ns}",
        ifname=IFNAME,
        args=_args(pod, container),
        path=(*lab.cni.path, *PLUGIN_PATHS),
        runtime=json.dumps(_runtime_config(node, pod)),
        asks=_asks(lab, node, network),
    )
    return Attachment(ns, names.netns(lab.name, node.name), wiring, address_of(pod), by=_BY)


def _args(pod: Pod, container: str) -> str:
    """CNI_ARGS as containerd writes them."""
    arguments = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.namespace,
        "K8S_POD_NAME": pod.name,
        "K8S_POD_INFRA_CONTAINER_ID": container,
        "K8S_POD_UID": pod.uid,
    }
    return ";".join(f"{name}={value}" for name, value in arguments.items())


def _runtime_config(node: Node, pod: Pod) -> dict[str, object]:
    """The runtimeConfig for plugins with the capability (CNI's conventions): host ports, and the node's range."""
    mappings = [
        {"hostPort": port.host_port, "containerPort": port.port, "protocol": str(port.protocol).lower(),
         "hostIP": port.host_ip}
        for port in host_ports(pod)
    ]  # fmt: skip
    ranges = {"ipRanges": [[{"subnet": str(node.pod_cidr)}]]}
    return {**ranges, "portMappings": mappings} if mappings else {**ranges}


def _asks(lab: Lab, node: Node, network: NetworkConfig) -> bool:
    """Whether the plugins allocate from the node's podCIDR, so that nslab can request a certain address.

    Plugins with a range of their own would refuse it; then they choose the address.
    """
    return str(node.pod_cidr) in node_config(lab, node) or network.capable("ips") or network.capable("ipRanges")


def allocation(node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order; the plugins decide in the end."""
    return host_local(node.pod_cidr, last)


def node_addresses(_lab: Lab, _node: Node) -> Iterator[IPv4Address]:
    """None: only the plugins know what else a node has."""
    return iter(())


def mtu(lab: Lab) -> int:
    """The configuration's MTU, else Ethernet's."""
    return network_of(lab, lab.nodes[0]).mtu or ETHERNET_MTU


def speaks_from(_lab: Lab, _host: HostFeatures, _node: Node, *, same_node: bool) -> None:
    """None: only the plugins know which interface has an address."""


def masquerades(_role: str) -> bool:
    """Every pod's packets, by ip-masq-agent's rule or the plugins' own."""
    return True


def userspace_bind(node: Node) -> str:
    """The node's address: with CNI plugins, the pods' links need not have one."""
    return str(node.address)


def title(lab: Lab) -> str:
    """The network's name and its plugins."""
    network = network_of(lab, lab.nodes[0])
    return f"CNI network {network.name} ({', '.join(network.types)})"


def node_line(_lab: Lab, _node: Node) -> str:
    """Empty: only the plugins know what is there."""
    return ""


def pod_link(_pod: Pod) -> str:
    """Empty: the plugins choose the name of the node's end."""
    return ""


def pod_line(pod: Pod) -> str:
    """The pod's end of the veth."""
    return f"{IFNAME} {address_of(pod)}"


def sort_out(_lab: Lab, have: Iterable[KernelObject], known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """Unknown routes and addresses may be the plugins' own: nslab neither repairs nor shows them."""
    keys = {obj.key for obj in known}
    return [obj for obj in have if obj.key in keys or not obj.by_anybody], []


def is_its_own(line: str) -> bool:
    """The chains of the CNI project's plugins begin with CNI-."""
    return bool(re.search("-[Aj] CNI-", line))


AGENT, agent_rules, agent, snapshot = whole.AGENT, whole.agent_rules, whole.agent, whole.snapshot
