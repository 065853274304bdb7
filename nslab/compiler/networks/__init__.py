"""Network plugins behind one protocol, a module each: what a pod network consists of, and all that depends on it.

No code outside asks which plugin a lab has: a new plugin is a module here and a line in `NETWORKS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from nslab.compiler.networks import calico, cni_exec, flannel, kubenet, no_cni
from nslab.lab.types import Plugin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from ipaddress import IPv4Address

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node
    from nslab.objects.base import KernelObject, State
    from nslab.objects.needs import HostFeatures
    from nslab.ruletext.items import Items


class Network(Protocol):
    """One network plugin: a module of this package."""

    @property
    def REMEMBERS(self) -> bool:  # noqa: N802 - a module's constant
        """Whether its allocator continues after the address that it allocated last."""

    @property
    def KEEPS(self) -> bool:  # noqa: N802
        """Whether a pod keeps the address it has, even if it now requests another."""

    def objects(self, lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
        """The pod network, node by node; each object comes after those it requires."""

    @property
    def BY_HAND(self) -> bool:  # noqa: N802
        """Whether the user builds the pod network by hand, so that a fresh lab has none."""

    @property
    def AGENT(self) -> str:  # noqa: N802
        """The component that keeps `agent_rules`, by watching the API server; "" if it has none."""

    def agent_rules(self, lab: Lab) -> Mapping[str, Items]:
        """The rules and sets that its agent keeps, by node; kube-proxy's stand behind them."""

    def agent(self, lab: Lab, host: HostFeatures, node: Node) -> Iterator[KernelObject]:
        """The process of its agent on a node."""

    def snapshot(self, lab: Lab) -> dict[str, Any] | None:
        """What the API server tells the agents of all nodes; None without an agent."""

    @property
    def WIRED_BY(self) -> str:  # noqa: N802
        """Who makes what of the pods' way is not in the State, as `trace` names him; "" if all of it is."""

    # Addresses

    def allocation(self, node: Node, last: IPv4Address | None) -> Iterator[IPv4Address]:
        """The addresses of a node's podCIDR, in the order in which its allocator allocates them after `last`."""

    def node_addresses(self, lab: Lab, node: Node) -> Iterator[IPv4Address]:
        """A node's addresses besides the one on the node network: that of its bridge or its tunnel."""

    # Packets

    def mtu(self, lab: Lab) -> int | None:
        """The largest packet (bytes) that a pod sends or receives unfragmented; None if it depends on the user."""

    def speaks_from(self, lab: Lab, host: HostFeatures, node: Node, *, same_node: bool) -> IPv4Address | None:
        """The source address of a node's packets to a pod without a tunnel between them; None if unknown."""

    def masquerades(self, role: str) -> bool | None:
        """Whether another machine (`role`: node or client) sees a pod as its node's address; None if unknown."""

    def userspace_bind(self, node: Node) -> str:
        """The address on which userspace mode's proxy listens; "" (all addresses) where the pods' links have one."""

    # Pictures

    def title(self, lab: Lab) -> str:
        """The network's name in a few words."""

    def node_line(self, lab: Lab, node: Node) -> str:
        """What a picture shows of a node's part of the network; "" if there is nothing."""

    def pod_link(self, pod: Pod) -> str:
        """The name of the node's end of a pod's veth; "" if unknown."""

    def pod_line(self, pod: Pod) -> str:
        """What a picture shows between a node and a pod, with the pod's address."""

    # Existing objects

    def sort_out(
        self, lab: Lab, have: Iterable[KernelObject], known: State
    ) -> tuple[list[KernelObject], list[KernelObject]]:
        """Splits the existing objects: those the lab manages, and unmanaged ones, which are shown and left alone.

        `known`: all objects that the desired state has ever contained.
        """

    def is_its_own(self, line: str) -> bool:
        """Whether a rule outside the desired state belongs to the plugin and is not to be shown."""


NETWORKS: dict[Plugin, Network] = {
    Plugin.CALICO: calico,
    Plugin.KUBENET: kubenet,
    Plugin.FLANNEL: flannel,
    Plugin.NONE: no_cni,
    Plugin.EXEC: cni_exec,
}


def network(lab: Lab) -> Network:
    """The network of a lab."""
    return NETWORKS[lab.plugin]
