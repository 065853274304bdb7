"""A lab as a tree of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of
from nslab.compiler.endpoints import resolve
from nslab.compiler.networks import network
from nslab.compiler.subnets import gateway, subnet_of
from nslab.compiler.underlay import UPLINK, bridge, interface
from nslab.views.table import folded, padded, width

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Address, IPv4Network

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab, Node, Router
    from nslab.proxy.model import Port, ServiceInfo

ROOM = 30
"""The maximum lines of a picture, less than a screen. If it does not fit, some items are drawn and the rest counted."""


def picture(lab: Lab, columns: int = 0) -> str:
    """The switches, the machines on each, each node's pods with their veths, and the Services.

    The pods have addresses. `columns`: the terminal's, into which long lines are folded; 0: any number.
    """
    sizes = ((64, len(lab.nodes), 64), (8, len(lab.nodes), 8), (4, 8, 6), (2, 8, 3))
    drawn = ["\n".join((_picture(lab, pods, nodes), *_services(lab, most))) for pods, nodes, most in sizes]
    chosen = next((text for text in drawn if text.count("\n") < ROOM), drawn[-1])
    return "\n".join(part for line in chosen.split("\n") for part in folded(line, columns))


def _picture(lab: Lab, most_pods: int, most_nodes: int) -> str:
    return "\n".join(_switch(lab, subnet, most_pods, most_nodes) for subnet in lab.networks.nodes)


def _switch(lab: Lab, subnet: IPv4Network, most_pods: int, most_nodes: int) -> str:
    """One subnet. If it is the only one, the switch has the gateway's address."""
    address = f"{gateway(lab)}/{subnet.prefixlen}" if len(lab.networks.nodes) == 1 else str(subnet)
    lines = [f"switch {bridge(lab, subnet)} {address}"]
    machines: list[tuple[str, list[str]]] = [
        (f"{router.name}  {interface(number)} {leg}   {_beyond(lab, router, leg)}", [])
        for router in lab.routers
        for number, leg in enumerate(router.addresses)
        if leg in subnet
    ]
    machines += [
        (f"{client.name}  {UPLINK} {client.address}   outside the cluster", [])
        for client in lab.clients
        if client.address in subnet
    ]
    nodes = [node for node in lab.nodes if node.address in subnet]
    machines += [(_node(lab, node), _pods(lab, node, most_pods)) for node in nodes[:most_nodes]]
    if len(nodes) > most_nodes:
        machines.append((f"… and {len(nodes) - most_nodes} more nodes", []))
    for index, (line, below) in enumerate(machines):
        last = index == len(machines) - 1
        lines.append(f"{'└─' if last else '├─'} {line}")
        lines += [f"{'  ' if last else '│ '} {child}" for child in below]
    return "\n".join(lines)


def _beyond(lab: Lab, router: Router, leg: IPv4Address) -> str:
    """A router's other subnets, seen from one of its addresses, and whether it has routes to pods."""
    others = ", ".join(str(subnet_of(lab, other)) for other in router.addresses if other != leg)
    return f"router to {others}{', and to pods by BGP' if router.bgp else ''}"


def title(lab: Lab) -> str:
    """The lab in a line: its name, its network, its size."""
    return f"{lab.name}: {network(lab).title(lab)}; {count(lab)}"


def count(lab: Lab) -> str:
    """The numbers of machines, pods and Services, in words."""
    parts = (
        (len(lab.nodes), "node"),
        (len(lab.pods), "pod"),
        (len(lab.services), "Service"),
        (len(lab.clients), "client"),
        (len(lab.routers), "router"),
    )
    return ", ".join(f"{number} {what}{'s' if number != 1 else ''}" for number, what in parts if number)


def _node(lab: Lab, node: Node) -> str:
    line = f"{node.name}  {UPLINK} {node.address}"
    own = network(lab).node_line(lab, node)
    return f"{line}   {own}" if own else line


def _pods(lab: Lab, node: Node, most: int) -> list[str]:
    pods = [pod for pod in lab.pods if pod.node == node.name]
    rows = [[_line(lab, pod), _name(pod), _containers(pod)] for pod in pods[:most]]
    lines = _columns(rows)
    if len(pods) > most:
        lines.append(f"… and {len(pods) - most} more pods")
    return [f"{'└─' if index == len(lines) - 1 else '├─'} {line}" for index, line in enumerate(lines)]


def _line(lab: Lab, pod: Pod) -> str:
    return f"hostNetwork  {address_of(pod)}" if pod.host_network else network(lab).pod_line(pod)


def _services(lab: Lab, most: int) -> list[str]:
    """A line for each port of a Service."""
    rows = [[name, reached, f"-> {behind}"] for name, reached, behind in service_rows(lab)]
    if not rows:
        return []
    more = [f"  … and {len(rows) - most} more"] if len(rows) > most else []
    return ["", f"Services ({lab.proxy_mode.value} mode)", *(f"  {line}" for line in _columns(rows[:most])), *more]


def service_rows(lab: Lab) -> list[tuple[str, str, str]]:
    """For each port of a Service its name, its addresses, and its endpoints."""
    who = {f"{pod.namespace}/{pod.name}": _name(pod) for pod in lab.pods}
    return [
        (_name(service), _reached(service, port), _behind(port, who))
        for service in resolve(lab)
        for port in service.ports or (None,)
    ]


def _reached(service: ServiceInfo, port: Port | None) -> str:
    """Address, port, node port and external addresses; only the name of an ExternalName."""
    if port is None:
        return service.external_name
    number = f":{port.port}{'' if port.protocol == 'TCP' else f'/{port.protocol}'}"
    node_port = f", node port {port.node_port}" if port.node_port else ""
    outside = "".join(f", {ip}" for ip in (*service.load_balancer_ips, *service.external_ips))
    return f"{service.cluster_ip or 'headless'}{number}{node_port}{outside}"


def _behind(port: Port | None, who: dict[str, str]) -> str:
    if port is None:
        return "a name elsewhere"
    names = [who.get(end.pod, f"{end.ip}:{end.port}") for end in port.endpoints]
    return ", ".join([*names[:_SHOWN], *([f"… {len(names) - _SHOWN} more"] if len(names) > _SHOWN else [])]) or "nobody"


_SHOWN = 4


def _name(obj: Pod | ServiceInfo) -> str:
    return obj.name if obj.namespace == "default" else f"{obj.namespace}/{obj.name}"


def _containers(pod: Pod) -> str:
    return ", ".join(
        ":".join([container.name, *dict.fromkeys(str(port.port) for port in container.ports)])
        for container in pod.containers
    )


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)] if rows else []
    return ["  ".join(map(padded, row, widths)).rstrip() for row in rows]
