"""Warnings of host ports that do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.validate_host_ports import clashes, declared
from nslab.api.words import shown
from nslab.errors import FieldError
from nslab.lab.host_ports import is_ipv4

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.stream import Documents


def idle_host_ports(found: Documents) -> Iterator[FieldError]:
    """The host ports that another pod has, and those that no plugin maps: they would silently do nothing."""
    for path, pod, port, (_, owner) in clashes(found):
        name = shown(owner.name if owner.namespace == "default" else f"{owner.namespace}/{owner.name}")
        taken = f"pod {name} of {shown(pod.node)} has it, and a kubelet would reject a second one (NodePorts)"
        yield FieldError(path, f"hostPort {port.host_port}/{port.protocol} does nothing: {taken}")
    missing = _missing(found)
    for path, pod, port in declared(found):
        if pod.host_network:
            continue
        if not is_ipv4(port):
            why = f"its hostIP {shown(port.host_ip)} is no IPv4 address, and pods here have no other"
            yield FieldError((*path[:-1], "hostIP"), f"hostPort {port.host_port} does nothing: {why}")
        elif missing:
            yield FieldError(path, f"hostPort {port.host_port} does nothing: {missing}")


def _missing(found: Documents) -> str:
    """What a lab's network lacks to map host ports; "" if nothing."""
    if found.lab.rules.by_exec:
        mapped = '"portMappings"' in found.lab.cni.get("config", "")
        return "" if mapped else "no plugin has the capability portMappings (portmap would)"
    if found.lab.rules.host_ports:
        return ""
    return "it needs cni plugin: calico or flannel, or exec with portmap among its plugins"
