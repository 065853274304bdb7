"""What Felix knows of a lab; and the rules for NAT that labs have are among those of nslab.policy."""

from __future__ import annotations

import pytest

from nslab.admission.load import parse
from nslab.compiler.masquerade import nat_outgoing
from nslab.compiler.placement import assign_addresses
from nslab.compiler.policies import cluster, felix_node
from nslab.lab.types import Encapsulation, Lab
from nslab.objects import names
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain
from nslab.policy import felix
from nslab.policy.model import FelixNode, NamedPort, Namespace, WorkloadEndpoint

TEXT = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: lab}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12}
  cni: {plugin: calico, encapsulation: %s}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/26}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  nodeName: node2
  serviceAccountName: seller
  containers:
  - {name: a, image: agnhost, ports: [{containerPort: 80, name: http}, {containerPort: 81}]}
  - {name: b, image: agnhost, ports: [{containerPort: 53, name: dns, protocol: UDP}]}
"""


def lab_of(encapsulation: Encapsulation) -> Lab:
    return assign_addresses(parse(TEXT % encapsulation, "f"))


def test_what_is_known_of_a_lab() -> None:
    found = cluster(lab_of(Encapsulation.NONE))
    assert found.namespaces == (Namespace("shop", (("team", "a"),)),)
    assert found.pools == ("20.96.0.0/12",)
    (pod,) = found.workloads
    assert pod.interface == names.cali("shop", "web")
    assert pod == WorkloadEndpoint(
        "shop", "web", "20.109.131.0", "node2", (("app", "web"),), "seller",
        (NamedPort("http", 80), NamedPort("dns", 53, "UDP")),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("encapsulation", "addresses", "tunnel", "peers"),
    [
        (
            Encapsulation.IPIP,
            ("192.168.59.22", "20.111.156.0"),
            "tunl0",
            ("192.168.59.22", "192.168.59.23"),
        ),
        (
            Encapsulation.VXLAN_CROSS_SUBNET,
            ("192.168.59.22", "20.111.156.0"),
            "vxlan.calico",
            ("192.168.59.23",),
        ),
        (Encapsulation.NONE, ("192.168.59.22",), "", ("192.168.59.22", "192.168.59.23")),
    ],
)
def test_what_is_known_of_a_node(
    encapsulation: Encapsulation, addresses: tuple[str, ...], tunnel: str, peers: tuple[str, ...]
) -> None:
    lab = lab_of(encapsulation)
    assert felix_node(lab, lab.nodes[0], "3.30") == FelixNode("node1", addresses, tunnel, peers, "3.30")


@pytest.mark.parametrize("encapsulation", Encapsulation)
def test_the_rules_for_nat_are_those_that_labs_have(encapsulation: Encapsulation) -> None:
    lab = lab_of(encapsulation)
    items = felix.items(cluster(lab), felix_node(lab, lab.nodes[0], "3.30"))
    written = list(nat_outgoing(lab, lab.nodes[0]))
    chains = {obj.name: obj.rules for obj in written if isinstance(obj, Chain)}
    assert chains == {item[2]: body for item, body in items.items() if item[:2] == ("chain", "nat")}
    sets = {obj.name: (obj.type, obj.options) for obj in written if isinstance(obj, IpSet)}
    assert sets == {item[1]: items[item] for item in items if item[0] == "ipset" and item[1] in sets}
    members = {(obj.set, obj.member) for obj in written if isinstance(obj, SetMember)}
    assert members == {item[1:] for item in items if item[0] == "member" and item[1] in sets}
