"""A router outside the cluster, and a reflector among the nodes: what they learn by BGP, and what they pass on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from nslab.app.bgp import bgp_of
from nslab.linux.stored_lab import stored_lab
from tests.kernel.labkit import OwnLab, agnhosts, needs_bird, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

TEXT = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec:
  networks: {nodes: [192.168.59.0/24, 192.168.60.0/24]}
  cni:
    plugin: calico
    bgp: {nodeToNodeMeshEnabled: false, peers: [{peerIP: 192.168.59.1}], serviceClusterIPs: [{cidr: 10.96.0.0/12}]}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/26}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
  - {name: node3, address: 192.168.59.24, podCIDR: 20.108.66.64/26}
  routers: [{name: tor, addresses: [192.168.59.1, 192.168.60.1], bgp: true}]
  clients: [{name: client, address: 192.168.60.10}]
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.103.9.116, selector: {app: web}, ports: [{port: 8080}]}
"""
NODES = {"192.168.59.22", "192.168.59.23", "192.168.59.24"}
SERVICES = "10.96.0.0/12"
BLOCKS = {"20.111.156.0/26": "192.168.59.22", "20.109.131.0/26": "192.168.59.23", "20.108.66.64/26": "192.168.59.24"}
ITS_OWN = {block: {hop} for block, hop in BLOCKS.items()}
"""Each block by its node."""


class Rack(OwnLab):
    """Three nodes, and the router at the top of their rack, behind which a client is."""

    def learned(self, host: str = "tor") -> dict[str, set[str]]:
        """BIRD's routes in a host's kernel: their gateways."""
        routes = json.loads(self.sh(host, "ip -j route show proto bird"))
        return {
            route["dst"]: {hop["gateway"] for hop in route.get("nexthops", [route])}
            for route in routes
            if route.get("type") != "blackhole"
        }


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rack]:
    lab = Rack(tmp_path_factory.mktemp("bgp"))
    lab.write(TEXT.replace("NAME", lab.name) + agnhosts({"pod-b": ("web", "node1")}) + SERVICE)
    needs_bird(lab.lab())
    lab.up()
    yield lab
    lab.clear()


def test_a_router_of_the_nodes_system_learns_each_block_from_its_node_and_services_from_all(rack: Rack) -> None:
    assert rack.learned() == ITS_OWN  # the plan's
    until(lambda: rack.learned() == ITS_OWN | {SERVICES: NODES})
    rack.sh("tor", "ip route flush proto bird")
    until(lambda: rack.learned() == ITS_OWN | {SERVICES: NODES})
    (pod,) = (str(pod.assigned) for pod in rack.lab().pods if pod.name == "pod-b")
    assert rack.talks("client", pod)
    assert rack.talks("client", "10.103.9.116")
    traced = nslab("trace", rack.name, "client", "web")
    assert "proto bird [BIRD]" in traced.stdout
    assert "the lab's state predicts" not in traced.stdout
    assert rack.differences() == []


def test_nodes_learn_from_each_other_through_it(rack: Rack) -> None:
    """Next hops stay the nodes, and no node takes the Services' range from another."""
    others = {block: hops for block, hops in ITS_OWN.items() if block != "20.111.156.0/26"}
    rack.sh("node1", "ip route flush proto bird")
    until(lambda: rack.learned("node1") == others)
    assert {row["peer"] for row in bgp_of(stored_lab(rack.name), "node1").routes} == {"192.168.59.1"}


def test_to_a_router_of_another_system_each_node_announces_all_blocks(rack: Rack) -> None:
    """So it sends packets by detours, unless the nodes keep the next hops that they learned."""
    rack.edit("nodeToNodeMeshEnabled: false, peers: [{peerIP: 192.168.59.1}]", "peers: [{peerIP: 192.168.59.1PEER}]")
    rack.edit("bgp: true", "bgp: {asNumber: 65001}")
    rack.edit("PEER", ", asNumber: 65001")
    rack.up()
    until(lambda: rack.learned() == {SERVICES: NODES, **dict.fromkeys(BLOCKS, NODES)}, 30)
    assert rack.differences() == []
    rack.edit("asNumber: 65001}]", "asNumber: 65001, keepOriginalNextHop: true}]")
    rack.up()
    until(lambda: rack.learned() == ITS_OWN | {SERVICES: NODES}, 30)
    assert rack.differences() == []


def test_nodes_learn_from_a_reflector_whose_next_hops_are_the_nodes(rack: Rack) -> None:
    rack.edit("bgp: {peers: [{peerIP: 192.168.59.1, asNumber: 65001, keepOriginalNextHop: true}], ", "bgp: {PEERS, ")
    rack.edit("PEERS", "routeReflectors: [node1]")
    rack.up()
    until(lambda: len(bgp_of(stored_lab(rack.name), "node2").routes) >= 2, 30)
    rack.sh("node2", "ip route flush proto bird")
    others = {block: hops for block, hops in ITS_OWN.items() if block != "20.109.131.0/26"}
    until(lambda: rack.learned("node2") == others)
    (session,) = bgp_of(stored_lab(rack.name), "node2").sessions
    assert (session["peerAddress"], session["peerType"]) == ("192.168.59.22", "global")
    assert rack.differences() == []
