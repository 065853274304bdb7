"""Nodes with Felix's rules, and what they do to a connection's first packet; the recorded cases."""

from __future__ import annotations

import copy
import json
from functools import cache
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, NamedTuple

from policy_oracle import End

from nslab.api.document import Document
from nslab.compiler.items import objects
from nslab.lab.policy_views import network_policy, set_defaults
from nslab.policy import felix
from nslab.policy.allowed import AllowedConnections, PolicyEnd
from nslab.policy.model import Cluster, FelixNode, NamedPort, Namespace, NetworkPolicy, WorkloadEndpoint
from nslab.policy.render import sets_text
from nslab.ruletext.iptables import saved_text
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.from_state import node_rules
from nslab.trace.rules.packet import Addresses, HookPacket, Verdict
from nslab.trace.rules.ruleset import NodeRules, read

DATA = Path(__file__).parents[2] / "data"
NUMBERS = {"TCP": 6, "UDP": 17, "SCTP": 132}
PORTS = {(f"serve-{port}-{protocol.lower()}", protocol): port for port in (80, 81) for protocol in ("TCP", "UDP")}
"""The ports of every pod of the cases, by name and protocol."""
NODE, TUNNEL = "node1", "tunl0"


class Case(NamedTuple):
    name: str
    policies: list[dict[str, Any]]
    pods: dict[str, End]
    denied: dict[str, list[str]]


def recorded() -> dict[str, Any]:
    return json.loads((DATA / "policy" / "cases.json").read_text())


def cases() -> list[Case]:
    found = recorded()
    return [
        Case(case["name"], case["policies"], ends(found["pods"], case["labels"]), case["denied"])
        for case in found["cases"]
    ]


def ends(pods: dict[str, Any], more: dict[str, dict[str, str]]) -> dict[str, End]:
    return {
        key: End(pod["ip"], pod["namespace"], {**pod["labels"], **more.get(key, {})}, PORTS)
        for key, pod in pods.items()
    }


def view(document: dict[str, Any]) -> NetworkPolicy:
    one = Document(copy.deepcopy(document))
    set_defaults(one.spec)
    return network_policy(one)


class World:
    """Pods on nodes: all on NODE, or each namespace's on a node of its own (`spread`)."""

    def __init__(
        self,
        policies: list[dict[str, Any]],
        pods: dict[str, End],
        namespaces: dict[str, dict[str, str]],
        *,
        spread: bool = False,
        version: str = "3.30",
        dataplane: str = "iptables",
    ) -> None:
        self.workloads = {
            key: WorkloadEndpoint(
                pod.namespace, key, pod.ip, pod.namespace if spread else NODE, tuple(pod.labels.items()),
                ports=tuple(NamedPort(name, port, protocol) for (name, protocol), port in pod.ports.items()),
            )
            for key, pod in pods.items()
        }  # fmt: skip
        labels = tuple(Namespace(name, tuple(own.items())) for name, own in namespaces.items())
        cluster = Cluster(tuple(map(view, policies)), (*self.workloads.values(),), labels, ("10.65.0.0/16",))
        self._allowed = AllowedConnections(cluster)
        self._rules: dict[str, NodeRules] = {}
        for node in {one.node for one in self.workloads.values()}:
            own = FelixNode(node, ("192.168.59.22",), TUNNEL, version=version, dataplane=dataplane)
            items = felix.items(cluster, own)
            if dataplane == "nftables":
                self._rules[node] = node_rules(objects(node, {"Felix": items}))
            else:
                self._rules[node] = read(saved_text(items), sets_text(items))

    def allows(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Whether the first packet of a connection passes FORWARD of all nodes on its way; others are outside."""
        start, end = self.workloads.get(source), self.workloads.get(destination)
        packet = HookPacket(
            IPv4Address(start.ip if start else source), IPv4Address(end.ip if end else destination),
            NUMBERS[protocol], 40000, port,
        )  # fmt: skip
        if start and end and start.node == end.node:
            return self._passes(start.node, packet, start.interface, end.interface)
        return (not start or self._passes(start.node, packet, start.interface, TUNNEL)) and (
            not end or self._passes(end.node, packet, TUNNEL, end.interface)
        )

    def intends(self, source: str, destination: str, protocol: str, port: int) -> bool:
        """Whether the policies themselves allow the connection."""
        client, server = (
            PolicyEnd(IPv4Address(pod.ip if pod else name), pod)
            for name, pod in ((name, self.workloads.get(name)) for name in (source, destination))
        )
        return self._allowed.denial(client, server, protocol, port) is None

    def _passes(self, node: str, packet: HookPacket, iif: str, oif: str) -> bool:
        asked = HookPacket(
            packet.source, packet.destination, packet.protocol, packet.source_port, packet.destination_port,
            iif=iif, oif=oif,
        )  # fmt: skip
        (found,) = evaluate(self._rules[node], asked, "FORWARD", Addresses())
        assert not found.doubts, found
        return found.verdict is Verdict.ACCEPT


@cache
def namespace_labels() -> dict[str, dict[str, str]]:
    return recorded()["namespaceLabels"]
