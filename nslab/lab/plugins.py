"""The configuration of a lab's CNI plugins: found beside the lab file, filled for each node, and checked."""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from nslab.api.words import shown
from nslab.cni.config import NetworkConfig, WrongConfigError, filled, read
from nslab.errors import FieldError
from nslab.lab.network_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents
    from nslab.lab.types import Lab, Node

LARGEST = 1 << 20
"""The maximum size of a configuration, in bytes."""
PLUGIN_PATHS = ("/usr/lib/cni", "/usr/libexec/cni", "/opt/cni/bin")
"""The directories of CNI plugins in distributions and Kubernetes, searched after those that a lab names."""


def network_of(lab: Lab, node: Node) -> NetworkConfig:
    """The CNI network of a node's pods. The lab must be valid."""
    assert lab.cni
    return read(node_config(lab, node))


def node_config(lab: Lab, node: Node) -> str:
    """A node's configuration, with its placeholders filled in."""
    assert lab.cni
    nets = lab.networks
    return filled(lab.cni.config, _values(lab.name, nets.pods, nets.services, node.name, node.address, node.pod_cidr))


def _values(
    lab: str, pods: IPv4Network, services: IPv4Network, name: str, address: IPv4Address, cidr: IPv4Network
) -> dict[str, str]:
    """The values of a configuration's placeholders on one node, as kubelets and operators fill them in."""
    return {
        "node.name": name,
        "node.address": str(address),
        "node.podCIDR": str(cidr),
        "node.gateway": str(cidr[1]),
        "lab.name": lab,
        "lab.pods": str(pods),
        "lab.services": str(services),
    }


def example(text: str) -> NetworkConfig:
    """The network of a configuration, with placeholders filled in for an example node. Raises WrongConfigError."""
    node, pods, services = IPv4Address("192.168.59.22"), IPv4Network("20.96.0.0/12"), IPv4Network("10.96.0.0/12")
    return read(filled(text, _values("lab", pods, services, "node1", node, IPv4Network("20.96.1.0/24"))))


def fetch(lab: LabDocument, file: str) -> Iterator[FieldError]:
    """Read the file `conf` into the document. Relative paths in `conf` and `path` start at the lab file's folder."""
    here, section = os.path.dirname(os.path.abspath(file)), lab.cni
    if "path" in section:
        section["path"] = [os.path.join(here, folder) for folder in section["path"]]
    rules = RULES.get(section.get("plugin", ""))  # its default is not filled in yet
    if not rules or not rules.by_exec or not section.get("conf") or section.get("config"):
        return
    try:
        section["config"] = config_text(os.path.join(here, section["conf"]))
    except ValueError as error:
        yield FieldError(lab.place("cni", "conf"), f"spec.cni.conf: {shown(section['conf'])} {error}")


def config_text(path: str) -> str:
    """A configuration file's text. Raises ValueError with the reason if it cannot be read."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("is not a file")
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


def plugins(found: Documents) -> Iterator[FieldError]:
    """Plugin exec has a configuration that is valid on every node; the other plugins have none."""
    lab, section = found.lab, found.lab.cni
    if not lab.rules.by_exec:
        for field in ("conf", "config", "path", "routes", "masquerade"):
            if section.get(field) or section.get(field) is False:
                yield FieldError(lab.place("cni", field), f"spec.cni.{field} goes with plugin: exec; remove it")
        return
    for folder in section.get("path", ()):
        if ":" in folder:
            place = lab.place("cni", "path")
            yield FieldError(place, f"spec.cni.path: {shown(folder)} has a colon, as CNI_PATH cannot")
    if not section.get("config"):
        if not section.get("conf"):
            text = "plugin exec needs the CNI plugins' configuration: conf: FILE"
            yield FieldError(lab.place("cni", "plugin"), text)
        return
    yield from dict.fromkeys(_config_faults(lab))


def _config_faults(lab: LabDocument) -> Iterator[FieldError]:
    """Errors in the configuration, on any node."""
    conf = lab.cni.get("conf", "")
    field = "conf" if conf else "config"
    for node in lab.nodes:
        if not (node.address and node.pod_cidr):
            continue
        values = _values(lab.name, lab.pod_network, lab.service_network, node.name, node.address, node.pod_cidr)
        try:
            read(filled(lab.cni["config"], values))
        except WrongConfigError as wrong:
            for fault in wrong.faults:
                yield FieldError(lab.place("cni", field), f"spec.cni.{field}: {shown(conf or 'config')}: {fault}")
