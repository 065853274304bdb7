"""The ports of a node that its pods want: each has one owner per address and protocol (the scheduler's NodePorts)."""

from __future__ import annotations

from collections import defaultdict
from ipaddress import AddressValueError, IPv4Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.api.pod_types import ContainerPort, Pod

ANY = "0.0.0.0"  # noqa: S104 (nothing is bound to it)
"""The hostIP of a port that has none: all addresses of the node."""


def host_ports(pod: Pod) -> Iterator[ContainerPort]:
    """The ports of a pod's containers that are ports of its node, too."""
    return (port for container in pod.containers for port in container.ports if port.host_port)


def destination(port: ContainerPort) -> IPv4Address | None:
    """The only address of the node that leads to a host port; None: each does. AddressValueError if it is not IPv4."""
    return IPv4Address(port.host_ip) if port.host_ip not in ("", ANY) else None


def is_ipv4(port: ContainerPort) -> bool:
    """Whether a host port is one of IPv4 addresses."""
    try:
        destination(port)
    except AddressValueError:
        return False
    return True


def clash(one: ContainerPort, other: ContainerPort) -> bool:
    """Whether two host ports of one number and protocol are, at some address of a node, the same."""
    addresses = {one.host_ip or ANY, other.host_ip or ANY}
    return len(addresses) == 1 or ANY in addresses


class PortsInUse:
    """The host ports that pods have, by node. The first pod that wants one has it; one that has ended has none."""

    def __init__(self, pods: Iterable[Pod] = ()) -> None:
        self._taken: dict[tuple[str, int, str], list[ContainerPort]] = defaultdict(list)
        for pod in pods:
            self.take(pod, pod.node)

    def admits(self, pod: Pod, node: str) -> bool:
        """Whether a node has free all that a pod wants."""
        return all(self._is_free(node, port) for port in host_ports(pod))

    def take(self, pod: Pod, node: str) -> list[ContainerPort]:
        """Give a pod the ports of its node that are free; returns them."""
        free = [port for port in host_ports(pod) if self._is_free(node, port) and not pod.finished]
        for port in free:
            self._taken[node, port.host_port, port.protocol].append(port)
        return free

    def _is_free(self, node: str, port: ContainerPort) -> bool:
        return not any(clash(port, other) for other in self._taken[node, port.host_port, port.protocol])
