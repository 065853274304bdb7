"""The configuration of a lab's CNI plugins: found beside the lab file, filled for each node, and checked."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.cni.config import Network, WrongConfigError, filled, read
from nslab.lab.types import Cni, Plugin
from nslab.lab.words import Complaint, shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.draft import LabDraft
    from nslab.lab.types import Lab, Node
    from nslab.lab.words import Path

LARGEST = 1 << 20
"""Bytes of a configuration."""
PLUGIN_PATHS = ("/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin")
"""Where distributions, and Kubernetes, have CNI plugins; behind the directories that a lab names."""


def network_of(lab: Lab, node: Node) -> Network:
    """The plugins that wire a node's pods. The lab has been checked."""
    assert lab.cni
    return read(node_config(lab, node))


def node_config(lab: Lab, node: Node) -> str:
    """The configuration as a node has it, its holes filled."""
    assert lab.cni
    nets = lab.networks
    return filled(lab.cni.config, _holes(lab.name, nets.pods, nets.services, node.name, node.address, node.pod_cidr))


def _holes(
    lab: str, pods: IPv4Network, services: IPv4Network, name: str, address: IPv4Address, cidr: IPv4Network
) -> dict[str, str]:
    """What a configuration may say differently on each node, as kubelets and operators fill it in."""
    return {
        "node.name": name,
        "node.address": str(address),
        "node.podCIDR": str(cidr),
        "node.gateway": str(cidr[1]),
        "lab.name": lab,
        "lab.pods": str(pods),
        "lab.services": str(services),
    }


def example(text: str) -> Network:
    """The network of a configuration with its holes filled as for some node; WrongConfigError tells what is wrong."""
    node, pods, services = IPv4Address("192.168.59.22"), IPv4Network("20.96.0.0/12"), IPv4Network("10.96.0.0/12")
    return read(filled(text, _holes("lab", pods, services, "node1", node, IPv4Network("20.96.1.0/24"))))


def fetch(draft: LabDraft, file: str) -> Iterator[Complaint]:
    """Read the file that `conf` names into the draft; what it and `path` name lies where the lab's file says."""
    here = os.path.dirname(os.path.abspath(file))
    draft.cni_path = tuple(os.path.join(here, folder) for folder in draft.cni_path)
    if draft.plugin is not Plugin.EXEC or not draft.conf or draft.config:
        return
    try:
        draft.config = config_text(os.path.join(here, draft.conf))
    except ValueError as error:
        yield Complaint(_place(draft, "conf"), f"spec.cni.conf: {shown(draft.conf)} {error}")


def config_text(path: str) -> str:
    """A configuration file's text; ValueError says why there is none."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("is no file")
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    if len(data) > LARGEST:
        raise ValueError(f"is larger than {LARGEST >> 20} MB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None


def cni_of(draft: LabDraft) -> Cni | None:
    """The setting of a checked draft."""
    if draft.plugin is not Plugin.EXEC:
        return None
    routes, masquerade = draft.routes is not False, draft.masquerade is not False
    return Cni(draft.config, draft.cni_path, routes=routes, masquerade=masquerade)


def plugins(draft: LabDraft) -> Iterator[Complaint]:
    """With plugin exec there is a configuration, and every node can be given it; with another there is none."""
    if draft.plugin is not Plugin.EXEC:
        said = {"conf": bool(draft.conf), "config": bool(draft.config), "path": bool(draft.cni_path)}
        said |= {"routes": draft.routes is not None, "masquerade": draft.masquerade is not None}
        for field, value in said.items():
            if value:
                yield Complaint(_place(draft, field), f"spec.cni.{field} goes with plugin: exec; remove it")
        yield from _host_ports_without_plugins(draft)
        return
    for folder in draft.cni_path:
        if ":" in folder:
            yield Complaint(_place(draft, "path"), f"spec.cni.path: {shown(folder)} has a colon, as CNI_PATH cannot")
    if not draft.config:
        if not draft.conf:
            text = "plugin exec needs the CNI plugins' configuration: conf: FILE"
            yield Complaint(_place(draft, "plugin"), text)
        return
    yield from dict.fromkeys(_config_faults(draft))
    yield from _host_ports(draft)


def _config_faults(draft: LabDraft) -> Iterator[Complaint]:
    """What is wrong with the configuration, on whichever node."""
    field = "conf" if draft.conf else "config"
    for node in draft.nodes:
        if not (node.address and node.pod_cidr and draft.pod_network and draft.service_network):
            continue
        values = _holes(draft.name, draft.pod_network, draft.service_network, node.name, node.address, node.pod_cidr)
        try:
            read(filled(draft.config, values))
        except WrongConfigError as wrong:
            for fault in wrong.faults:
                yield Complaint(_place(draft, field), f"spec.cni.{field}: {shown(draft.conf or 'config')}: {fault}")


def _host_ports(draft: LabDraft) -> Iterator[Complaint]:
    """A port of a node has one owner: the scheduler would find no room for a second."""
    seen: dict[tuple[str, int, str], Path] = {}
    for path, node, port, protocol in _declared(draft):
        first = seen.setdefault((node, port, protocol), path)
        if first != path:
            yield Complaint(path, f"two pods of {shown(node)} want its port {port}/{protocol}", first)


def _host_ports_without_plugins(draft: LabDraft) -> Iterator[Complaint]:
    for path, _, port, _ in _declared(draft):
        yield Complaint(path, f"hostPort {port} needs cni plugin: exec, with portmap among its plugins; remove it")


def _declared(draft: LabDraft) -> Iterator[tuple[Path, str, int, str]]:
    """Every hostPort of a pod: its place, the node, the port and its protocol."""
    for pod in draft.pods:
        for index, container in enumerate(pod.containers):
            for place, port in enumerate(container.ports):
                if port.host_port:
                    path = (*pod.place, "spec", "containers", index, "ports", place, "hostPort")
                    yield path, pod.node, port.host_port, str(port.protocol)


def idle_host_ports(draft: LabDraft) -> Iterator[Complaint]:
    """A hostPort that no plugin is told of does nothing, and nobody says so."""
    if draft.plugin is Plugin.EXEC and '"portMappings"' not in draft.config:
        for path, _, port, _ in _declared(draft):
            text = f"hostPort {port} does nothing: no plugin has the capability portMappings (portmap would)"
            yield Complaint(path, text)


def _place(draft: LabDraft, field: str) -> Path:
    return (draft.document or 0, "spec", "cni", field)
