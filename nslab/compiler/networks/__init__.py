"""Network plugins, a module each behind one protocol: what a pod network consists of, and all that depends on it.

Nobody outside asks which plugin a lab has: a new one is a module here, and a line in `NETWORKS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from nslab.compiler.networks import calico, cni_exec, kubenet, no_cni
from nslab.lab.types import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from ipaddress import IPv4Address

    from nslab.lab.types import Lab, Node, Pod
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import Host


class Network(Protocol):
    """One network plugin: a module of this package."""

    @property
    def REMEMBERS(self) -> bool:  # noqa: N802 - a module's constant
        """Whether its allocator goes on behind the address that it gave last."""

    @property
    def KEEPS(self) -> bool:  # noqa: N802
        """Whether a pod that has an address keeps it, whatever it asks for by now."""

    def objects(self, lab: Lab, host: Host) -> Iterator[KernelObject]:
        """The pod network, node by node; each object after those that it lies on."""

    @property
    def BY_HAND(self) -> bool:  # noqa: N802
        """Whether the pod network is for somebody to make, and not yet there when a lab is up."""

    # Addresses

    def allocation(self, node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
        """The addresses of a node's podCIDR, in the order in which its allocator hands them out after `last`."""

    def node_addresses(self, lab: Lab, node: Node) -> Iterator[IPv4Address]:
        """The addresses that a node has besides that on the node network: its bridge's, or its tunnel's."""

    # Packets

    def mtu(self, lab: Lab) -> int | None:
        """The largest packet from or to a pod that passes whole; None: that depends on what somebody makes by hand."""

    def speaks_from(self, lab: Lab, host: Host, node: Node, *, same_node: bool) -> IPv4Address | None:
        """The address from which a node speaks to a pod without a tunnel between them; None: nobody can tell."""

    def masquerades(self, role: str) -> bool | None:
        """Whether a pod is seen as its node by another machine (node or client); None: nobody can tell."""

    def userspace_bind(self, node: Node) -> str:
        """Where userspace mode's proxy listens; "": on all addresses, for pods' links have some."""

    # Pictures

    def title(self, lab: Lab) -> str:
        """The network in a few words."""

    def node_line(self, lab: Lab, node: Node) -> str:
        """What a picture shows of a node's own part; nothing, if there is nothing."""

    def pod_link(self, pod: Pod) -> str:
        """The node's end of a pod's veth, by its name; "": nobody knows it."""

    def pod_line(self, pod: Pod) -> str:
        """What a picture shows between a node and a pod, with the pod's address."""

    # What is there

    def sort_out(
        self, lab: Lab, have: Iterable[KernelObject], known: State
    ) -> tuple[list[KernelObject], list[KernelObject]]:
        """Of what is there: what the lab answers for, and what is somebody else's, to be shown and left alone.

        `known`: all that a wish ever named.
        """

    def is_its_own(self, line: str) -> bool:
        """Whether a line of what no wish names is the plugin's own business, not to be shown."""


NETWORKS: dict[Plugin, Network] = {
    Plugin.CALICO: calico,
    Plugin.KUBENET: kubenet,
    Plugin.NONE: no_cni,
    Plugin.EXEC: cni_exec,
}


def network(lab: Lab) -> Network:
    """The network of a lab."""
    return NETWORKS[lab.plugin]
