"""CNI plugins by exec: what a container runtime tells the plugins of a configuration about each pod."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from nslab.cni.chain import Program, Wiring
from nslab.compiler.addresses import address_of, pod_netns
from nslab.compiler.kubenet import forwarding, masquerade, node_routes
from nslab.lab.plugins import PLUGIN_PATHS, network_of, node_config
from nslab.objects import names
from nslab.objects.attachment import Attachment
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.cni.config import Network
    from nslab.lab.types import Lab, Node, Pod
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import Host

_BY = "container runtime"
IFNAME = "eth0"


def attached(lab: Lab, host: Host) -> Iterator[KernelObject]:
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
    told = {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": pod.namespace,
        "K8S_POD_NAME": pod.name,
        "K8S_POD_INFRA_CONTAINER_ID": container,
        "K8S_POD_UID": pod.uid,
    }
    return ";".join(f"{name}={value}" for name, value in told.items())


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
