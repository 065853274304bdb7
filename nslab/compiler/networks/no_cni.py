"""No network plugin: pods have only loopback, and nodes do not forward. The user builds the rest by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, host_local, networked, pod_netns
from nslab.compiler.networks import whole
from nslab.objects import names
from nslab.objects.namespaces import Netns
from nslab.objects.ports import LinkUp
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import HostFeatures


REMEMBERS, KEEPS, BY_HAND = True, False, True
WIRED_BY = "by hand"


def objects(lab: Lab, _host: HostFeatures) -> Iterator[KernelObject]:
    """The state before a runtime calls a plugin: the pods' namespaces and nothing in them."""
    for node in lab.nodes:
        # A new namespace inherits the machine's setting: where Docker runs, it would forward.
        yield Sysctl(names.netns(lab.name, node.name), "net/ipv4/ip_forward", "0", "0", by="the machines")
        for pod in networked(lab, node):
            yield Netns(pod_netns(lab, pod), by="kubelet")
            yield LinkUp(pod_netns(lab, pod), "lo", by="container runtime")


def sort_out(lab: Lab, have: Iterable[KernelObject], known: State) -> tuple[list[KernelObject], list[KernelObject]]:
    """Splits the existing objects: those the lab manages, and the user's, which nslab neither repairs nor removes.

    The user's are objects on nodes and in pods that the desired state has never contained (`known`: all it has).
    The user may set any sysctl there, so each one counts as having its desired value.
    """
    machines = {names.netns(lab.name, node.name) for node in lab.nodes} | {pod_netns(lab, pod) for pod in lab.pods}
    named = {obj.key: obj for obj in known}
    managed: list[KernelObject] = []
    users: list[KernelObject] = []
    for obj in have:
        if obj.ns in machines and obj.by_anybody and obj.key not in named:
            users.append(obj)
        else:
            managed.append(named[obj.key] if obj.ns in machines and isinstance(obj, Sysctl) else obj)
    return managed, users


def is_its_own(_line: str) -> bool:
    """False: there is no plugin."""
    return False


def allocation(node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
    """host-local's order, for the addresses that the user is to give to the pods."""
    return host_local(node.pod_cidr, last)


def node_addresses(_lab: Lab, _node: Node) -> Iterator[IPv4Address]:
    """None: a node has only its own address."""
    return iter(())


def mtu(_lab: Lab) -> None:
    """None: it depends on the network that the user builds."""


def speaks_from(_lab: Lab, _host: HostFeatures, _node: Node, *, same_node: bool) -> None:
    """None: it depends on the network that the user builds."""


def masquerades(role: str) -> bool | None:
    """True for clients; None for nodes, where it depends on the network that the user builds."""
    return None if role == "node" else True


def userspace_bind(node: Node) -> str:
    """The node's address: the pods' links need not have one."""
    return str(node.address)


def title(_lab: Lab) -> str:
    """A fixed text."""
    return "no network plugin"


def node_line(_lab: Lab, _node: Node) -> str:
    """Empty: a node has no part of a pod network yet."""
    return ""


def pod_link(_pod: Pod) -> str:
    """Empty: the user chooses the name."""
    return ""


def pod_line(pod: Pod) -> str:
    """The pod's intended address."""
    return f"(no cable)  {address_of(pod)}"


AGENT, agent_rules, agent, snapshot = whole.AGENT, whole.agent_rules, whole.agent, whole.snapshot
