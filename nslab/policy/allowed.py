"""Whether policies let a connection begin: by the policies themselves, as the API describes them, without rules."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, NamedTuple

from nslab.api.selectors import matches
from nslab.policy import selectors

if TYPE_CHECKING:
    from nslab.policy.model import Cluster, Direction, NetworkPolicy, PolicyPeer, PolicyPort, WorkloadEndpoint


class PolicyEnd(NamedTuple):
    """One end of a connection: the address that the rules see, and the pod if it is one."""

    address: IPv4Address
    pod: WorkloadEndpoint | None = None


class Denial(NamedTuple):
    """Why a connection is denied: the policies, NAMESPACE/NAME, that isolate an end, and none of which allows it.

    `direction`: ingress, if they isolate the end that is asked; egress, if the one that asks.
    """

    direction: Direction
    policies: tuple[str, ...]


class AllowedConnections:
    """The connections that a cluster's policies allow."""

    def __init__(self, cluster: Cluster) -> None:
        self._policies = sorted(cluster.policies, key=lambda one: (one.namespace, one.name))
        self._labels = selectors.namespace_labels(cluster)

    def isolating(self, end: PolicyEnd, direction: Direction) -> list[NetworkPolicy]:
        """The policies that isolate a pod in a direction; none isolates what is outside."""
        pod = end.pod
        found = (one for one in self._policies if pod and one.rules(direction) is not None)
        return [one for one in found if pod and selectors.selects(one, pod)]

    def denial(self, source: PolicyEnd, target: PolicyEnd, protocol: str, port: int = 0) -> Denial | None:
        """Why a connection is denied; None if it is allowed. `protocol`: TCP, UDP, SCTP, or another without ports."""
        return self.one_way("egress", source, target, target, protocol, port) or self.one_way(
            "ingress", target, source, target, protocol, port
        )

    def one_way(
        self, direction: Direction, own: PolicyEnd, other: PolicyEnd, server: PolicyEnd, protocol: str, port: int
    ) -> Denial | None:
        """The same by the policies of one end alone. `server`: the end that is asked, whose pod names ports."""
        isolating = self.isolating(own, direction)
        for policy in isolating:
            for rule in policy.rules(direction) or ():
                by_peer = not rule.peers or any(self._is(policy, peer, other) for peer in rule.peers)
                if by_peer and (not rule.ports or any(_serves(one, server, protocol, port) for one in rule.ports)):
                    return None
        return Denial(direction, tuple(f"{one.namespace}/{one.name}" for one in isolating)) if isolating else None

    def _is(self, policy: NetworkPolicy, peer: PolicyPeer, end: PolicyEnd) -> bool:
        if peer.block:
            return ":" not in peer.block and _in(end, peer.block) and not any(_in(end, net) for net in peer.excepts)
        if not end.pod or not matches(peer.pods or (), dict(end.pod.labels)):
            return False
        if peer.namespaces is None:
            return end.pod.namespace == policy.namespace
        return matches(peer.namespaces, self._labels[end.pod.namespace])


def _in(end: PolicyEnd, network: str) -> bool:
    return end.address in IPv4Network(network)


def _serves(one: PolicyPort, server: PolicyEnd, protocol: str, port: int) -> bool:
    """Whether a port of a policy is the one that is asked for."""
    if one.protocol != protocol:
        return False
    if isinstance(one.port, str):
        named = server.pod.ports if server.pod else ()
        return any((each.name, each.port, each.protocol) == (one.port, port, protocol) for each in named)
    return not one.port or one.port <= port <= (one.end or one.port)
