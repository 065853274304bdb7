"""Checks of a lab that need more than one field. Each yields errors with paths; `load` finds the positions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, TypeAlias

from nslab import rundir
from nslab.admission import (
    validate_affinity,
    validate_bgp,
    validate_controllers,
    validate_cron_jobs,
    validate_dns,
    validate_host_ports,
    validate_objects,
    validate_pods,
    validate_policies,
    validate_security,
    validate_subnets,
)
from nslab.admission.validate_pods import SMALLEST
from nslab.api.words import shown
from nslab.errors import FieldError, FieldPath
from nslab.lab import plugins
from nslab.lab.stream import Documents
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.policy.model import NFTABLES

if TYPE_CHECKING:
    from nslab.lab.lab_document import LabDocument

RESERVED = ("switch", "control")
"""nslab's own hosts (`nslab.objects.names.RESERVED`; a test keeps the two equal)."""
FILES = (rundir.SOCKET, rundir.PIDS, rundir.JOURNAL, rundir.STATUS)
LONGEST_NAMESPACE = 255
"""The maximum length of a file name in /run/netns, in bytes."""
# Ranges that the kernel treats specially; Calico's next hop is in one of them.
SPECIAL = {
    IPv4Network("0.0.0.0/8"): "this network",
    IPv4Network("127.0.0.0/8"): "loopback",
    IPv4Network("169.254.0.0/16"): "link-local; Calico's 169.254.1.1 is there",
    IPv4Network("224.0.0.0/3"): "multicast and reserved",
}


def errors(found: Documents) -> Iterator[FieldError]:
    """All errors in documents with defaults."""
    for check in CHECKS if found.lab.document is not None else CHECKS_WITHOUT_LAB:
        yield from check(found)


def networks(found: Documents) -> Iterator[FieldError]:
    """Networks and subnets do not overlap, and are in usable ranges."""
    lab = found.lab
    nodes = [("nodes", lab.place("networks", "nodes", place), subnet) for place, subnet in lab.subnets.items()]
    pods = ("pods", lab.place("networks", "pods"), lab.pod_network)
    seen: list[tuple[str, IPv4Network]] = []
    for name, path, network in (
        *nodes,
        pods,
        ("services", lab.place("networks", "services"), lab.service_network),
    ):
        for other, range_ in seen:
            if network.overlaps(range_) and name == other:
                yield FieldError(path, f"the subnets {range_} and {network} of the node network overlap")
            elif network.overlaps(range_):
                yield FieldError(path, f"the networks {other} ({range_}) and {name} ({network}) overlap")
        for special, what in SPECIAL.items():
            if network.overlaps(special):
                yield FieldError(path, f"{name}: {network} overlaps with {special} ({what}); choose another")
        if network.prefixlen > SMALLEST:
            yield FieldError(path, f"{name}: {network} is too small; /{SMALLEST} is the smallest")
        seen.append((name, network))


def settings(found: Documents) -> Iterator[FieldError]:
    """Settings do not exclude each other."""
    lab = found.lab
    yield from _cni_fields(lab)
    if lab.encapsulation is not Encapsulation.NONE and lab.rules.encapsulation is Encapsulation.NONE:
        text = f"{lab.rules.label} no encapsulation, and this asks for {lab.encapsulation}"
        yield FieldError(lab.place("cni", "encapsulation"), f"{text}; remove it, or use plugin: calico")
    host_gw = lab.rules.backends and lab.encapsulation is Encapsulation.NONE
    if len(lab.subnets) > 1 and (not lab.rules.subnets or host_gw):
        routes, way_on = f"plugin: {lab.plugin}", "plugin: calico"
        if host_gw:
            routes, way_on = "backend: host-gw", "backend: vxlan"
        text = f"routes of {routes} go from node to node, which must share a subnet; use {way_on}"
        yield FieldError(lab.place("networks", "nodes"), text)
    services = lab.service_network
    if lab.dns_address and lab.dns_address not in services:
        yield FieldError(
            lab.place("dns", "address"),
            f"the name server's address {lab.dns_address} is outside the service network {services}",
        )
    elif lab.dns_address and lab.dns_address in (services[0], services[1], services[-1]):
        whose = {services[0]: "the network's own", services[1]: "the Service kubernetes'"}
        what = whose.get(lab.dns_address, "the broadcast")
        text = f"the name server cannot have the address {lab.dns_address}; it is {what} address"
        yield FieldError(lab.place("dns", "address"), text)


def _cni_fields(lab: LabDocument) -> Iterator[FieldError]:
    """flannel has a backend, the others have an encapsulation; calico has releases and dataplanes."""
    for field, what in (("calicoVersion", "names a release of it"), ("dataplane", "is that of its Felix")):
        if field in lab.cni and not lab.rules.release:
            text = f"{lab.rules.label} no Calico, and {field} {what}; remove it, or use plugin: calico"
            yield FieldError(lab.place("cni", field), text)
    if lab.cni.get("dataplane") == NFTABLES and lab.proxy_mode is ProxyMode.IPVS:
        text = "Calico's dataplane nftables does not go with proxy mode ipvs; write dataplane: iptables"
        yield FieldError(lab.place("cni", "dataplane"), text)
    if lab.rules.backends and "encapsulation" in lab.cni:
        text = "flannel has no spec.cni.encapsulation; write backend: vxlan, or backend: host-gw"
        yield FieldError(lab.place("cni", "encapsulation"), text)
    elif lab.rules.backends and lab.cni.get("directRouting") and lab.cni["backend"] == "host-gw":
        text = "spec.cni.directRouting goes with backend: vxlan; backend: host-gw has no tunnel at all"
        yield FieldError(lab.place("cni", "directRouting"), text)
    elif not lab.rules.backends:
        for field in ("backend", "directRouting"):
            if field in lab.cni:
                text = f"spec.cni.{field} goes with plugin: flannel; remove it"
                yield FieldError(lab.place("cni", field), text)


def hosts(found: Documents) -> Iterator[FieldError]:
    """Each host has a unique name, which fits into the name of a network namespace."""
    lab = found.lab
    seen: dict[str, FieldPath] = {}
    groups = (("node", lab.nodes), ("client", lab.clients), ("router", lab.routers))
    # A machine's veth has the machine's name at the switch; these are the switch's interfaces, or sysctl's own names.
    taken = {"lo", "all", "default", *(f"br{number}" for number in range(len(lab.node_networks)))}
    taken |= {f"{router.name}.eth{number}" for router in lab.routers for number in range(router.written)}
    for what, names in ((what, [machine.name for machine in group]) for what, group in groups):
        for index, name in enumerate(names):
            path = lab.place(f"{what}s", index, "name")
            yield from _host(path, what, name, seen)
            if name in taken:
                yield FieldError(
                    path, f"a {what} cannot be called {name}; the switch cannot have an interface of that name"
                )
            if name.endswith(FILES):
                yield FieldError(path, f"a {what} cannot be called {shown(name)}; nslab has files of such names")
    for one in found.pods:
        path, pod = (*one.path, "metadata", "name"), one.view
        if pod.namespace == "default":
            if pod.name in RESERVED or pod.name in seen:
                yield from _host(path, "pod", pod.name, seen)
        elif len(f"nslab.{lab.name}.{pod.namespace}_{pod.name}") > LONGEST_NAMESPACE:
            yield _too_long(lab.name, path, f"{pod.namespace}_{pod.name}")
        if pod.namespace == "default" and len(f"nslab.{lab.name}.{pod.name}") > LONGEST_NAMESPACE:
            yield _too_long(lab.name, path, pod.name)


def _host(path: FieldPath, what: str, name: str, seen: dict[str, FieldPath]) -> Iterator[FieldError]:
    """One host's name is not reserved and not taken."""
    if not name:
        return
    if name in RESERVED:
        yield FieldError(path, f"a {what} cannot be called {name}; nslab has a host of that name itself")
    elif name in seen:
        yield FieldError(path, f"a {what} cannot be called {shown(name)}; another host has that name", first=seen[name])
    seen.setdefault(name, path)


def _too_long(lab: str, path: FieldPath, host: str) -> FieldError:
    """The error for a host whose namespace's name is too long."""
    length = len(f"nslab.{lab}.{host}")
    return FieldError(
        path, f"the namespace's name nslab.LAB.{shown(host)} has {length} bytes, and {LONGEST_NAMESPACE} is the limit"
    )


def pod_cidrs(found: Documents) -> Iterator[FieldError]:
    """Each node has its own part of the pod network."""
    lab = found.lab
    network = lab.pod_network
    given: list[tuple[IPv4Network, int]] = []
    for index, node in enumerate(lab.nodes):
        path = lab.place("nodes", index, "podCIDR")
        who = shown(node.name) if node.name else "this node"
        if node.pod_cidr is None:
            yield FieldError(path, f"the pod network {network} has no room left for {who}")
            continue
        given.append((node.pod_cidr, index))
        if not node.pod_cidr.subnet_of(network):
            yield FieldError(path, f"the podCIDR {node.pod_cidr} of {who} is outside the pod network {network}")
        elif node.pod_cidr.prefixlen > SMALLEST:
            yield FieldError(path, f"the podCIDR {node.pod_cidr} of {who} is too small; /{SMALLEST} is the smallest")
    # Networks are nested or disjoint: in sorted order, each overlaps at most the widest one that began before it.
    widest: tuple[IPv4Network, int] | None = None
    for cidr, index in sorted(given):
        if widest is None or not cidr.overlaps(widest[0]):
            widest = (cidr, index)
            continue
        early, late = sorted((index, widest[1]))
        a, b = lab.nodes[early], lab.nodes[late]
        yield FieldError(
            lab.place("nodes", late, "podCIDR"),
            f"the podCIDRs of {shown(a.name)} ({a.pod_cidr}) and {shown(b.name)} ({b.pod_cidr}) overlap",
            first=lab.place("nodes", early, "podCIDR"),
        )


def last_reserved(found: Documents) -> Iterator[FieldError]:
    """The allocators' last addresses belong to existing nodes."""
    lab = found.lab
    cidrs = {node.name: node.pod_cidr for node in lab.nodes}
    for name, address in lab.last_reserved.items():
        path: FieldPath = (lab.document or 0, "status", "lastReserved", name)
        if name not in cidrs:
            yield FieldError(path, f"lastReserved: there is no node {shown(name)}", word=name, known=tuple(cidrs))
        elif (cidr := cidrs[name]) and address not in cidr:
            yield FieldError(path, f"lastReserved: {address} is outside the podCIDR {cidr} of {shown(name)}")


Check: TypeAlias = Callable[[Documents], Iterator[FieldError]]
CHECKS_WITHOUT_LAB: tuple[Check, ...] = (
    validate_pods.pods,
    validate_pods.containers,
    validate_host_ports.host_ports,
    validate_dns.resolving,
    validate_security.rights,
    validate_objects.services,
    validate_objects.slices,
    validate_controllers.controllers,
    validate_affinity.node_affinity,
    validate_cron_jobs.valid_cron_jobs,
    validate_objects.others,
    validate_policies.network_policies,
    validate_objects.admitted,
    validate_objects.probes,
)
CHECKS: tuple[Check, ...] = (
    *CHECKS_WITHOUT_LAB,
    networks,
    settings,
    validate_bgp.bgp,
    plugins.plugins,
    validate_host_ports.mapped_once,
    hosts,
    validate_subnets.machine_addresses,
    validate_subnets.routers,
    pod_cidrs,
    validate_pods.placement,
    validate_pods.addresses,
    validate_pods.enough_room,
    last_reserved,
    validate_objects.allocation,
)
