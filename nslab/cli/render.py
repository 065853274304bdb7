"""`nslab render`: the rules that kube-proxy or Felix would write."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.admission.settings import SCHEDULERS
from nslab.cli.objects import read_file
from nslab.cli.output import say
from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.lab.types import ProxyMode

if TYPE_CHECKING:
    from nslab.api.values import Source
    from nslab.proxy.model import Proxy, ServiceInfo


Files = Annotated[
    list[Path],
    typer.Option("--filename", "-f", help="A manifest or a lab file, or a folder; - is standard input; repeatable."),
]
Node = Annotated[str, typer.Option("--node", help="The node that kube-proxy or Felix runs on.")]
Mode = Annotated[ProxyMode | None, typer.Option("--proxy-mode", help="kube-proxy's mode; none writes nothing.")]
Policy = Annotated[bool, typer.Option("--policy", help="What Calico's Felix writes for NetworkPolicies, instead.")]
CalicoVersion = Annotated[
    str | None, typer.Option("--calico-version", help="Felix's release instead of the file's: 3.28, 3.30 or 3.32.")
]
Dataplane = Annotated[
    str | None, typer.Option("--dataplane", help="Where Felix writes, instead of the file's: iptables or nftables.")
]
NodeAddress = Annotated[str | None, typer.Option("--node-ip", help="The node's address.")]
ClusterCidr = Annotated[str | None, typer.Option("--cluster-cidr", help="The pod network.")]
ServiceCidr = Annotated[str | None, typer.Option("--service-cidr", help="The service network.")]
Scheduler = Annotated[str | None, typer.Option("--scheduler", help="The IPVS scheduler: rr, wrr, lc, sh or mh.")]
Zone = Annotated[str | None, typer.Option("--zone", help="The node's zone, for hints.")]
MasqueradeAll = Annotated[bool, typer.Option("--masquerade-all", help="Masquerade all traffic to Services.")]


def render(
    files: Files,
    node: Node,
    mode: Mode = None,
    policy: Policy = False,
    calico_version: CalicoVersion = None,
    dataplane: Dataplane = None,
    node_ip: NodeAddress = None,
    cluster_cidr: ClusterCidr = None,
    service_cidr: ServiceCidr = None,
    scheduler: Scheduler = None,
    zone: Zone = None,
    masquerade_all: MasqueradeAll = False,
) -> None:
    """Print what kube-proxy would write for a manifest's Services on a node. Needs no root and changes nothing.

    With --policy: what Felix, Calico's agent, would write for its NetworkPolicies and pods. Without a Lab document, the
    nodes are those that `nslab up` would give to the manifest.

    The manifest needs Services and EndpointSlices only. A Service without a cluster IP gets the first free address of
    the service network (10.96.0.0/12 by default), and the first free node ports. A Lab document supplies the node and
    the networks, and completes the Services as `nslab up` does.

    Example: nslab render -f labs/services-iptables/lab.yaml --node node1 --proxy-mode nftables
    """
    from nslab.app.policy import felix_text
    from nslab.proxy.render import render as text

    if policy:
        say(felix_text(_sources(files), str(files[0]), node, calico_version, dataplane), nl=False)
        return
    if mode is None:
        raise UsageError("--proxy-mode is missing: iptables, ipvs, nftables, userspace or none; or give --policy")
    service_network = None if service_cidr is None else _network("--service-cidr", service_cidr)
    services, proxy = _known(_sources(files), str(files[0]), node, service_network)
    proxy = replace(
        proxy,
        mode=str(mode),
        addresses=proxy.addresses if node_ip is None else (_address("--node-ip", node_ip),),
        cluster_cidr=proxy.cluster_cidr if cluster_cidr is None else _network("--cluster-cidr", cluster_cidr),
        service_cidr=proxy.service_cidr if service_network is None else service_network,
        scheduler=proxy.scheduler if scheduler is None else _scheduler(scheduler),
        masquerade_all=masquerade_all,
        zone=proxy.zone if zone is None else zone,
    )
    if not proxy.addresses and (why := _needs_address(services, mode)):
        raise UsageError(f"{why}: give the node's address (--node-ip)")
    say("" if mode is ProxyMode.NONE else text(services, proxy), nl=False)


def _needs_address(services: tuple[ServiceInfo, ...], mode: ProxyMode) -> str:
    """Why the rules of these Services need the node's address; "" if they do not."""
    if mode is ProxyMode.USERSPACE:
        return "userspace mode redirects to a port of the node"
    if mode in (ProxyMode.IPVS, ProxyMode.NFTABLES):
        for service in services:
            if any(port.node_port for port in service.ports):
                return f"{mode} mode writes node ports ({service.key} has one) for the node's own addresses"
    for service in services:
        if mode is not ProxyMode.NONE and service.source_ranges and service.load_balancer_ips:
            return f"whether the node is in the source ranges of {service.key} depends on its address"
    return ""


def _sources(files: list[Path]) -> tuple[Source, ...]:
    """The texts of files, of all manifests in folders, or of standard input."""
    from nslab.api.documents import sources_of
    from nslab.api.values import Source

    return tuple(
        source
        for file in files
        for source in (sources_of(file) if file.is_dir() else (Source(str(file), read_file(file)),))
    )


def _known(
    sources: tuple[Source, ...], file: str, node: str, service_network: str | None
) -> tuple[tuple[ServiceInfo, ...], Proxy]:
    """The Services of a manifest, and the settings of the node's kube-proxy, as far as a Lab in it has them."""
    from nslab.admission.load import load_sources
    from nslab.admission.manifest import has_lab, read_manifest
    from nslab.compiler.endpoints import resolve
    from nslab.compiler.placement import assign_addresses
    from nslab.compiler.services import proxy_of
    from nslab.lab.addons import with_api_service
    from nslab.lab.defaults import SERVICE_NETWORK
    from nslab.objects.needs import FULL
    from nslab.proxy.model import Proxy

    if not has_lab(sources):
        network = IPv4Network(service_network) if service_network else SERVICE_NETWORK
        return resolve(read_manifest(sources, network)), Proxy(node, ())
    lab = assign_addresses(load_sources(sources, file))
    for found in lab.nodes:
        if found.name == node:
            return resolve(with_api_service(lab)), proxy_of(lab, found, FULL, ())
    raise UsageError(f"{file} has no node {node!r}; there are {', '.join(known.name for known in lab.nodes)}")


def _address(flag: str, text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is not an IPv4 address, such as 192.168.59.22") from None


def _network(flag: str, text: str) -> str:
    """The network with its host bits cleared; "" for none."""
    if not text:
        return ""
    try:
        return str(IPv4Network(text, strict=False))
    except ValueError:
        raise UsageError(f"{flag}: {text!r} is not an IPv4 network, such as 20.96.0.0/12") from None


def _scheduler(text: str) -> str:
    if text not in SCHEDULERS:
        raise UsageError(f"--scheduler is one of {', '.join(SCHEDULERS)}, not {text!r}")
    return text
