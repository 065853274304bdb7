"""Each network plugin's defaults and restrictions for a lab file: one line per plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass
from nslab.lab.types import Encapsulation, Plugin
from nslab.policy.model import DEFAULT_RELEASE

if TYPE_CHECKING:
    from collections.abc import Callable
    from ipaddress import IPv4Address, IPv4Network


def _of_a_tunnel(cidr: IPv4Network, encapsulation: Encapsulation) -> dict[IPv4Address, str]:
    # calico-node claims its tunnel's address before any pod; the whole block is usable, including first and last.
    return {cidr[0]: "the tunnel's address"} if encapsulation is not Encapsulation.NONE else {}


def _of_a_bridge(gateway: str) -> Callable[[IPv4Network, Encapsulation], dict[IPv4Address, str]]:
    def reserved(cidr: IPv4Network, _: Encapsulation) -> dict[IPv4Address, str]:
        ends = {cidr[0]: "the network's own address", cidr[-1]: "the broadcast address"}
        return ends | {cidr[1]: gateway} if cidr.num_addresses > 1 else ends

    return reserved


BACKENDS: dict[Encapsulation, dict[str, Any]] = {
    Encapsulation.VXLAN_CROSS_SUBNET: {"backend": "vxlan", "directRouting": True},
    Encapsulation.VXLAN: {"backend": "vxlan"},
    Encapsulation.NONE: {"backend": "host-gw"},
}
"""flannel's fields of spec.cni for each encapsulation that it has."""


@dataclass(frozen=True, slots=True)
class NetworkRules:
    """The rules of one network plugin.

    `label`: the beginning of a message about what it lacks. `block`: the prefix length of a node's podCIDR (Calico's
    block, the controller manager's --node-cidr-mask-size). `reserved`: the addresses of a podCIDR that no pod can have,
    with the reason. `encapsulation`: its default; NONE: it has no other. `backends`: it has flannel's fields in place
    of `encapsulation`. `subnets`: it routes between nodes in different subnets. `requests`: a pod can request its
    address. `borrows`: also one of another node's podCIDR. `by_exec`: CNI plugins with a configuration make the network
    and decide on addresses. `policies`: it enforces NetworkPolicies. `host_ports`: the plugin portmap stands behind it.
    `bgp`: its nodes can speak BGP. `release`: the release of Calico whose rules a node has by default; "" for none.
    """

    label: str
    block: int
    reserved: Callable[[IPv4Network, Encapsulation], dict[IPv4Address, str]]
    encapsulation: Encapsulation = Encapsulation.NONE
    backends: bool = False
    subnets: bool = False
    requests: bool = True
    borrows: bool = False
    by_exec: bool = False
    policies: bool = False
    host_ports: bool = False
    bgp: bool = False
    release: str = ""


def fields(plugin: Plugin, encapsulation: Encapsulation) -> dict[str, Any]:
    """The fields of spec.cni that ask a plugin for an encapsulation."""
    plain: dict[str, Any] = {"encapsulation": str(encapsulation)}
    return BACKENDS.get(encapsulation, plain) if RULES[plugin].backends else plain


_BY_CUSTOM = _of_a_bridge("the pods' gateway, by custom")
RULES = {
    Plugin.CALICO: NetworkRules(
        "calico has",
        26,
        _of_a_tunnel,
        Encapsulation.IPIP,
        subnets=True,
        borrows=True,
        policies=True,
        host_ports=True,
        bgp=True,
        release=DEFAULT_RELEASE,
    ),
    Plugin.KUBENET: NetworkRules("kubenet has", 24, _of_a_bridge("the address of cbr0"), requests=False),
    Plugin.FLANNEL: NetworkRules(
        "flannel has",
        24,
        _of_a_bridge("the address of cni0"),
        Encapsulation.VXLAN,
        backends=True,
        subnets=True,
        host_ports=True,
    ),
    Plugin.NONE: NetworkRules("without a plugin there is", 24, _BY_CUSTOM, subnets=True),
    Plugin.EXEC: NetworkRules("exec has", 24, _BY_CUSTOM, by_exec=True),
}
