"""The machines and the network between them."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

from nslab.compiler.addresses import gateway
from nslab.net import names
from nslab.net.objects import Address, Bridge, LinkUp, Netns, NodeAgent, Object, Port, Route, Sysctl, Veth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Client, Lab, Node
    from nslab.net.needs import Host

DEFAULT = IPv4Network("0.0.0.0/0")
BRIDGE = "br0"
UPLINK = "eth0"
_BY = "the machines"


def underlay(lab: Lab, host: Host) -> Iterator[Object]:
    """The node network: a switch that is also its router, the nodes, and the machines outside the cluster."""
    yield from switch(lab, host)
    machines: tuple[Node | Client, ...] = (*lab.nodes, *lab.clients)
    for machine in machines:
        yield from plugged_in(lab, machine)
    for machine in machines:
        yield NodeAgent(names.netns(lab.name, machine.name), names.netns(lab.name, machine.name), by="kubelet")


def switch(lab: Lab, host: Host) -> Iterator[Object]:
    """One bridge; its own address is the gateway, a router that knows no pod network: pods are not reachable by it."""
    ns = names.netns(lab.name, names.SWITCH)
    yield Netns(ns, by=_BY)
    yield LinkUp(ns, "lo", by=_BY)
    yield Bridge(ns, BRIDGE, names.mac(lab.name, names.SWITCH), by=_BY)
    yield Address(ns, BRIDGE, IPv4Interface((gateway(lab), lab.networks.nodes.prefixlen)), by=_BY)
    yield LinkUp(ns, BRIDGE, by=_BY)
    yield Sysctl(ns, "net/ipv4/ip_forward", "1", "0", by=_BY)
    if host.bridge_netfilter:
        # A switch looks at frames only. With br_netfilter, bridged packets would pass this namespace's iptables.
        yield Sysctl(ns, "net/bridge/bridge-nf-call-iptables", "0", "1", by=_BY)


def plugged_in(lab: Lab, machine: Node | Client) -> Iterator[Object]:
    """A machine with one cable to the switch, an address and a way out.

    The default route matters inside, too: proxy ARP answers a pod only for what the node could route.
    """
    ns, middle = names.netns(lab.name, machine.name), names.netns(lab.name, names.SWITCH)
    port = names.ifname(machine.name)
    near, far = names.mac(lab.name, machine.name, "port"), names.mac(lab.name, machine.name, UPLINK)
    yield Netns(ns, by=_BY)
    yield LinkUp(ns, "lo", by=_BY)
    yield Veth(middle, port, near, ns, UPLINK, far, by=_BY)
    yield Port(middle, port, BRIDGE, by=_BY)
    yield LinkUp(middle, port, by=_BY)
    yield LinkUp(ns, UPLINK, by=_BY)
    yield Address(ns, UPLINK, IPv4Interface((machine.address, lab.networks.nodes.prefixlen)), by=_BY)
    yield Route(ns, DEFAULT, UPLINK, via=gateway(lab), by=_BY)
