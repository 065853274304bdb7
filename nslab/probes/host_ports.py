"""The calls to pods' host ports, and their expected answers (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.pod_types import Protocol
from nslab.compiler.portmap import owners
from nslab.dataclass import replace
from nslab.lab.host_ports import destination
from nslab.lab.network_rules import RULES
from nslab.objects import names
from nslab.probes.calls import Answer, Call, Way
from nslab.probes.pairs import agnhost_port, places, stand_in_ports
from nslab.probes.policies import Enforced

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from ipaddress import IPv4Address

    from nslab.api.pod_types import ContainerPort, Pod
    from nslab.lab.types import Lab, Node
    from nslab.probes.probe import ProbeHost


def host_port_calls(lab: Lab, askers: Sequence[ProbeHost], node_ports: Collection[tuple[int, str]]) -> Iterator[Call]:
    """Every client and every other node asks each TCP host port; a pod that has one must see who asks.

    `node_ports`: port and protocol of Services' node ports, which come before host ports of the same number.
    """
    if not RULES[lab.plugin].host_ports:
        return
    enforced, hosts = Enforced(lab), {one.name: one for one in places(lab, leaving=True)}
    for node, pod, port in _asked(lab, node_ports):
        for asker in askers:
            if asker.role == "client" or (asker.role == "node" and asker.name != node.name):
                call = _call(asker, pod, port, node.name, node.address)
                target = hosts[call.answers[0].pod]
                denied = enforced.denial(asker, target, str(port.protocol), port.port, asker.address)
                yield replace(call, answers=(), lost=True) if denied else call


def _asked(lab: Lab, node_ports: Collection[tuple[int, str]]) -> Iterator[tuple[Node, Pod, ContainerPort]]:
    """The host ports that lead to pods from a node's own address."""
    for node in lab.nodes:
        for pod, ports in owners(lab, node):
            for port in ports:
                taken = (port.host_port, str(port.protocol)) in node_ports
                if port.protocol is Protocol.TCP and not taken and destination(port) in (None, node.address):
                    yield node, pod, port


def _call(asker: ProbeHost, pod: Pod, port: ContainerPort, node: str, address: IPv4Address) -> Call:
    asks = any(port.port in (agnhost_port(container), *stand_in_ports(container)) for container in pod.containers)
    host = names.pod_host(pod.namespace, pod.name)
    answer = Answer(host, pod.uts_name, asker.address, near=asker.node == node)
    where = (f"{pod.namespace}/{pod.name}", "", str(port.protocol), Way.HOST_PORT, node)
    return Call(asker.name, *where, (address,), port.host_port, answers=(answer,), asks=asks)
