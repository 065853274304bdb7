"""The underlay: the machines and the network between them."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from nslab.compiler.addresses import announced
from nslab.compiler.bgp import one_way
from nslab.compiler.subnets import egress, gateway, next_hop, subnet_of
from nslab.objects import names
from nslab.objects.inet import Address
from nslab.objects.links import Bridge, Veth
from nslab.objects.namespaces import Netns
from nslab.objects.ports import BridgePort, LinkUp
from nslab.objects.process import NodeAgent
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.lab.types import Client, Lab, Node, Router
    from nslab.objects.base import KernelObject
    from nslab.objects.needs import HostFeatures

DEFAULT = IPv4Network("0.0.0.0/0")
UPLINK = "eth0"
ETHERNET_MTU = 1500
_BY = "the machines"


def underlay(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """The node network: its switches and routers, the nodes, and the machines outside the cluster."""
    yield from switch(lab, host)
    machines: tuple[Node | Client, ...] = (*lab.nodes, *lab.clients)
    for machine in machines:
        yield from plugged_in(lab, machine)
    for router in lab.routers:
        yield from joining(lab, router)
    for name in (*(machine.name for machine in machines), *(router.name for router in lab.routers)):
        yield NodeAgent(names.netns(lab.name, name), names.netns(lab.name, name), by="kubelet")


def bridge(lab: Lab, subnet: IPv4Network) -> str:
    """The name of a subnet's switch."""
    return f"br{lab.networks.nodes.index(subnet)}"


def switch(lab: Lab, host: HostFeatures) -> Iterator[KernelObject]:
    """A bridge for each subnet.

    If there is only one, the bridge's own address is the gateway. It has no routes to the pod network. Between several
    subnets, routers are machines of their own.
    """
    ns = names.netns(lab.name, names.SWITCH)
    yield Netns(ns, by=_BY)
    yield LinkUp(ns, "lo", by=_BY)
    single = len(lab.networks.nodes) == 1
    for subnet in lab.networks.nodes:
        name = bridge(lab, subnet)
        yield Bridge(ns, name, names.mac(lab.name, names.SWITCH, *([] if single else [name])), by=_BY)
        if single:
            yield Address(ns, name, IPv4Interface((gateway(lab), subnet.prefixlen)), by=_BY)
        yield LinkUp(ns, name, by=_BY)
    if single:
        yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by=_BY)
    if host.bridge_netfilter:
        # A switch looks at frames only. With br_netfilter, bridged packets would traverse this namespace's iptables.
        yield Sysctl(ns, "net/bridge/bridge-nf-call-iptables", "0", "1", by=_BY)


def plugged_in(lab: Lab, machine: Node | Client) -> Iterator[KernelObject]:
    """A machine with one veth to its subnet's switch, an address and a default route.

    The pods need the default route, too: proxy ARP answers only for addresses that the node can route.
    """
    ns, own = names.netns(lab.name, machine.name), subnet_of(lab, machine.address)
    yield Netns(ns, by=_BY)
    yield LinkUp(ns, "lo", by=_BY)
    yield from veth(lab, machine.name, UPLINK, machine.address)
    out = gateway(lab, own)
    yield Route(ns, DEFAULT, UPLINK, via=out, by=_BY)
    for subnet in lab.networks.nodes:
        via = next_hop(lab, machine.address, subnet.network_address)
        if subnet != own and via != out:
            yield Route(ns, subnet, UPLINK, via=via, by=_BY)


def veth(lab: Lab, machine: str, dev: str, address: IPv4Address) -> Iterator[KernelObject]:
    """A veth from a machine to the switch of the subnet that contains `address`, which the machine's end gets."""
    ns, switch_ns = names.netns(lab.name, machine), names.netns(lab.name, names.SWITCH)
    subnet = subnet_of(lab, address)
    uplink = dev == UPLINK
    port = names.ifname(machine if uplink else f"{machine}.{dev}")  # no host may be called so
    near = names.mac(lab.name, machine, "port", *([] if uplink else [dev]))
    yield Veth(switch_ns, port, near, ns, dev, names.mac(lab.name, machine, dev), by=_BY)
    yield BridgePort(switch_ns, port, bridge(lab, subnet), by=_BY)
    yield LinkUp(switch_ns, port, by=_BY)
    yield LinkUp(ns, dev, by=_BY)
    yield Address(ns, dev, IPv4Interface((address, subnet.prefixlen)), by=_BY)


def interface(number: int) -> str:
    """The name of a router's interface, by the index of its address."""
    return f"eth{number}"


def joining(lab: Lab, router: Router) -> Iterator[KernelObject]:
    """A router with a veth into each of its subnets. It has routes to pods only if the nodes announce them by BGP."""
    ns = names.netns(lab.name, router.name)
    yield Netns(ns, by=_BY)
    yield LinkUp(ns, "lo", by=_BY)
    for number, address in enumerate(router.addresses):
        yield from veth(lab, router.name, interface(number), address)
    yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by=_BY)
    # A host keeps the route of an ICMP redirect for minutes, even after the router has lost that route.
    for dev in ("all", *(interface(number) for number, _ in enumerate(router.addresses))):
        yield Sysctl(ns, f"net/ipv4/conf/{dev}/send_redirects", "0", "1", by=_BY)
    for subnet in lab.networks.nodes:
        number, via = egress(lab, router, subnet.network_address)
        if via != subnet.network_address:
            yield Route(ns, subnet, interface(number), via=via, by=_BY)
    protocol, learned = ("bird", True) if lab.bgp else ("bgp", False)
    for node in lab.nodes if one_way(lab, router) else ():
        number, via = egress(lab, router, node.address)
        for block in announced(lab, node):
            yield Route(ns, block, interface(number), via, protocol, by="BGP peering", learned=learned)
