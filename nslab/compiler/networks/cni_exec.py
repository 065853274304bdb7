"""CNI plugins by exec: what a container runtime tells the plugins of a configuration about each pod."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from nslab.cni.chain import Program, Wiring
from nslab.compiler.addresses import address_of, host_local, pod_netns
from nslab.compiler.networks.kubenet import forwarding, masquerade, node_routes
from nslab.compiler.underlay import ETHERNET_MTU
from nslab.lab.plugins import PLUGIN_PATHS, network_of, node_config
from nslab.objects import names
from nslab.objects.attachment import Attachment
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.cni.config import Network
    from nslab.lab.types import Lab, Node, Pod
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import Host

_BY = "container runtime"
IFNAME = "eth0"
REMEMBERS, KEEPS, BY_HAND = True, True, False


def objects(lab: Lab, host: Host) -> Iterator[KernelObject]:
    """The pod network as CNI plugins make it, and what of a cluster's network is not theirs to make."""
    assert lab.cni
    for node in lab.nodes:
        ns, network = names.netns(lab.name, node.name), network_of(lab, node)
        yield from forwarding(ns, host, "kubelet")
        # bridge with host-local knows one node only: elsewhere a cloud's route controller makes the way to the others.
        if lab.cni.routes:
            yield from node_routes(lab, node)
        if lab.cni.masquerade:
            yield from masquerade(lab, node, "ip-masq-agent: SNAT for outbound traffic from cluster", "ip-masq-agent")
        for pod in lab.pods:
            if pod.node == node.name:
                yield Netns(pod_netns(lab, pod), by="kubelet")
                yield LinkUp(pod_netns(lab, pod), "lo", by=_BY)
                yield attachment(lab, node, pod, network, host)


def attachment(lab: Lab, node: Node, pod: Pod, network: Network, host: Host) -> Attachment:
    """How the plugins of a node's network are to wire one pod."""
    assert lab.cni
    found, ns = dict(host.programs), pod_netns(lab, pod)
    container = hashlib.sha256(f"{lab.name}/{pod.namespace}/{pod.name}/{pod.uid}".encode()).hexdigest()
    wiring = Wiring(
        network=network,
        programs=tuple(found.get(name, Program(f"{PLUGIN_PATHS[0]}/{name}")) for name in network.programs),
        container=container,
        netns=f"/run/netns/{ns}",
        ifname=IFNAME,
        args=_args(pod, container),
        path=(*lab.cni.path, *PLUGIN_PATHS),
        runtime=json.dumps(_told(node, pod)),
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


def _told(node: Node, pod: Pod) -> dict[str, object]:
    """What plugins with the capability are told (CNI's conventions): host ports, and the node's range."""
    mappings = [
        {"hostPort": port.host_port, "containerPort": port.port, "protocol": str(port.protocol).lower(), "hostIP": ""}
        for container in pod.containers
        for port in container.ports
        if port.host_port
    ]
    ranges = {"ipRanges": [[{"subnet": str(node.pod_cidr)}]]}
    return {**ranges, "portMappings": mappings} if mappings else {**ranges}


def _asks(lab: Lab, node: Node, network: Network) -> bool:
    """Whether the plugins give addresses of the node's podCIDR, so that a certain one can be asked for.

    With a range of their own they would refuse it; then the address is theirs to choose.
    """
    return str(node.pod_cidr) in node_config(lab, node) or network.capable("ips") or network.capable("ipRanges")


def allocation(node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """What host-local would give; the plugins have the last word."""
    return host_local(node.pod_cidr, last)


def node_addresses(_lab: Lab, _node: Node) -> Iterator[IPv4Address]:
    """What else a node has, the plugins alone know."""
    return iter(())


def mtu(lab: Lab) -> int:
    """What the configuration says."""
    return network_of(lab, lab.nodes[0]).mtu or ETHERNET_MTU


def speaks_from(_lab: Lab, _host: Host, _node: Node, *, same_node: bool) -> None:
    """What has an address on the way, the plugins alone know."""


def masquerades(_role: str) -> bool:
    """By ip-masq-agent's rule, or the plugins' own."""
    return True


def userspace_bind(node: Node) -> str:
    """Pods' links need have no address with CNI plugins."""
    return str(node.address)


def title(lab: Lab) -> str:
    """The network's name, and its plugins."""
    network = network_of(lab, lab.nodes[0])
    return f"CNI network {network.name} ({', '.join(network.types)})"


def node_line(_lab: Lab, _node: Node) -> str:
    """What is there, the plugins alone know."""
    return ""


def pod_link(_pod: Pod) -> str:
    """The node's end has a name of the plugins' own."""
    return ""


def pod_line(pod: Pod) -> str:
    """The pod's end."""
    return f"{IFNAME} {address_of(pod)}"


def sort_out(_lab: Lab, have: Iterable[KernelObject], known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """Routes and addresses that no wish knows of may be the plugins' own: nobody sees to them, nor shows them."""
    keys = {obj.key for obj in known}
    return [obj for obj in have if obj.key in keys or not obj.by_anybody], []


def is_its_own(line: str) -> bool:
    """The chains of the CNI project's plugins begin with CNI-."""
    return bool(re.search("-[Aj] CNI-", line))
