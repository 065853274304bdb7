"""What NetworkPolicies forbid of the probes, where a lab's network plugin enforces them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.policies import cluster
from nslab.lab.network_rules import RULES
from nslab.lab.types import ProxyMode
from nslab.objects import names
from nslab.policy.allowed import AllowedConnections, PolicyEnd
from nslab.policy.model import DIRECTIONS, Cluster

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from nslab.lab.types import Lab
    from nslab.policy.allowed import Denial
    from nslab.policy.model import Direction
    from nslab.probes.probe import ProbeHost

EPHEMERAL = 40000
"""Stands for a port that the kernel chooses: no policy names it."""


class Enforced:
    """The policies of a lab whose pods have addresses, as its nodes enforce them."""

    def __init__(self, lab: Lab) -> None:
        known = cluster(lab) if RULES[lab.plugin].policies else Cluster()
        self._any = bool(known.policies)
        self._allowed = AllowedConnections(known)
        self._pods = {names.pod_host(one.namespace, one.name): one for one in known.workloads}
        # A proxy process asks itself, and beside IPVS Felix's nftables mode has no marks: policies see other addresses.
        self._by_service = lab.proxy_mode not in (ProxyMode.IPVS, ProxyMode.USERSPACE)

    def denial(
        self, source: ProbeHost, target: ProbeHost, protocol: str, port: int = 0, seen: IPv4Address | None = None
    ) -> Denial | None:
        """Why a connection is denied, if it is. `seen`: the source that the target's node sees, if it is another."""
        if not self._any:
            return None
        server = self._end(target)
        if source.role == "node":
            # A node reaches its own pods, whatever they want: kubelet must probe them.
            near = source.node == target.node
            return None if near else self._ingress(PolicyEnd(seen or source.address), server, protocol, port)
        client = self._end(source)
        if client.pod and target.role == "pod":
            return self._allowed.denial(client, server, protocol, port)
        if client.pod:
            return self._allowed.one_way("egress", client, server, server, protocol, port)
        return self._ingress(PolicyEnd(seen or source.address), server, protocol, port)

    def isolating(self, host: ProbeHost, direction: Direction) -> tuple[str, ...]:
        """The policies, NAMESPACE/NAME, that isolate a pod in a direction."""
        return tuple(f"{one.namespace}/{one.name}" for one in self._allowed.isolating(self._end(host), direction))

    def undecided(self, *ends: ProbeHost) -> bool:
        """Whether a connection between these through a Service depends on more than policies say."""
        isolated = (self._allowed.isolating(self._end(one), way) for one in ends for way in DIRECTIONS)
        return self._any and not self._by_service and any(isolated)

    def _ingress(self, client: PolicyEnd, server: PolicyEnd, protocol: str, port: int) -> Denial | None:
        return self._allowed.one_way("ingress", server, client, server, protocol, port)

    def _end(self, host: ProbeHost) -> PolicyEnd:
        return PolicyEnd(host.address, self._pods.get(host.name) if host.role == "pod" else None)
