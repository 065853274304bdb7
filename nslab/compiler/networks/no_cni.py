"""No network plugin: pods with loopback alone, on nodes that forward nothing. The rest somebody makes by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, host_local, pod_netns
from nslab.objects import names
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.lab.types import Lab, Node, Pod
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import Host


REMEMBERS, KEEPS, BY_HAND = True, False, True


def objects(lab: Lab, _host: Host) -> Iterator[KernelObject]:
    """What is there before a plugin is called: the runtime has made the pods' namespaces, and no more."""
    for node in lab.nodes:
        # A new namespace inherits the machine's own setting: where Docker runs, it would forward by chance.
        yield Sysctl(names.netns(lab.name, node.name), "net/ipv4/ip_forward", "0", "0", by="the machines")
        for pod in lab.pods:
            if pod.node == node.name:
                yield Netns(pod_netns(lab, pod), by="kubelet")
                yield LinkUp(pod_netns(lab, pod), "lo", by="container runtime")


def sort_out(lab: Lab, have: Iterable[KernelObject], known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """Of what is there: what the lab answers for, and what is its learner's, which nobody mends or takes away.

    His is what no wish ever named (`known`: all that one did), on nodes and in pods. Settings are his from their first
    value on: they count as the lab wants them.
    """
    places = {names.netns(lab.name, node.name) for node in lab.nodes} | {pod_netns(lab, pod) for pod in lab.pods}
    named = {obj.key: obj for obj in known}
    ours: list[KernelObject] = []
    his: list[KernelObject] = []
    for obj in have:
        if obj.ns in places and obj.by_anybody and obj.key not in named:
            his.append(obj)
        else:
            ours.append(named[obj.key] if obj.ns in places and isinstance(obj, Sysctl) else obj)
    return ours, his


def is_its_own(_line: str) -> bool:
    """Nothing is."""
    return False


def allocation(node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """The addresses that pods are meant to have: in host-local's order."""
    return host_local(node.pod_cidr, last)


def node_addresses(_lab: Lab, _node: Node) -> Iterator[IPv4Address]:
    """None but its own."""
    return iter(())


def mtu(_lab: Lab) -> None:
    """That depends on what somebody builds."""


def speaks_from(_lab: Lab, _host: Host, _node: Node, *, same_node: bool) -> None:
    """What has an address on the way knows who built it."""


def masquerades(role: str) -> bool | None:
    """Whether other nodes count as outside is for somebody to decide."""
    return None if role == "node" else True


def userspace_bind(node: Node) -> str:
    """Pods' links need have no address."""
    return str(node.address)


def title(_lab: Lab) -> str:
    """None."""
    return "no network plugin"


def node_line(_lab: Lab, _node: Node) -> str:
    """Nothing is there yet."""
    return ""


def pod_link(_pod: Pod) -> str:
    """Whoever makes it names it."""
    return ""


def pod_line(pod: Pod) -> str:
    """The address that a pod is meant to have."""
    return f"(no cable)  {address_of(pod)}"
