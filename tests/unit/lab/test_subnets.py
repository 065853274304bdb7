"""A node network of several subnets, with routers between: what is read, what is written, what is refused."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest

from nslab.admission.load import parse, parse_stored
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.lab.stream import lab_schema as schema
from nslab.lab.subnets import distances
from nslab.lab.types import Router

GOOD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: a-lab}
spec:
  networks: {nodes: [192.168.59.0/24, 192.168.60.0/24]}
  cni: {plugin: calico}
  nodes:
  - {name: node1, address: 192.168.59.22}
  - {name: node3, address: 192.168.60.24}
  routers:
  - {name: router, addresses: [192.168.59.1, 192.168.60.1]}
  clients:
  - {name: client, address: 192.168.60.10}
---
apiVersion: v1
kind: Pod
metadata: {name: pod-a}
spec: {containers: [{name: app, command: [sleep, infinity]}]}
"""
A, B, C, D = (IPv4Network(f"10.{number}.0.0/16") for number in range(4))


def test_what_is_read_is_written() -> None:
    lab = parse(GOOD, "lab.yaml")
    assert list(map(str, lab.networks.nodes)) == ["192.168.59.0/24", "192.168.60.0/24"]
    assert lab.routers == (Router("router", (IPv4Address("192.168.59.1"), IPv4Address("192.168.60.1"))),)
    assert parse_stored(dump(lab), "kept") == lab


def test_a_block_that_is_too_small_is_one_sentence() -> None:
    pod = GOOD[GOOD.index("---") :].replace("spec: {", "spec: {nodeName: node1, ")
    pods = "".join(pod.replace("pod-a", name) for name in ("pod-b", "pod-c"))
    with pytest.raises(LabFileError) as refused:
        parse(GOOD.replace("192.168.59.22}", "192.168.59.22, podCIDR: 20.96.0.0/31}") + pods, "lab.yaml")
    text = "the podCIDR 20.96.0.0/31 of node1 is too small; /30 is the smallest"
    assert [one.sentence for one in refused.value.errors] == [text]


def test_a_router_may_know_pods() -> None:
    lab = parse(GOOD.replace("60.1]}", "60.1], bgp: true}"), "lab.yaml")
    assert lab.routers[0].bgp
    assert parse_stored(dump(lab), "kept") == lab


def test_one_subnet_is_written_as_one() -> None:
    lab = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: a}\n"
    output = dump(parse(f"{lab}spec: {{networks: {{nodes: [10.1.0.0/24]}}, nodes: [{{name: n}}]}}", "lab.yaml"))
    assert "nodes: 10.1.0.0/24," in output
    assert "routers" not in output


def test_addresses_that_are_not_given_are_of_the_first_subnet_and_no_router_s() -> None:
    text = GOOD.replace(", address: 192.168.60.10", "").replace("192.168.59.1,", "192.168.59.10,")
    assert str(parse(text, "lab.yaml").clients[0].address) == "192.168.59.11"


def test_the_schema_takes_one_or_many() -> None:
    nodes = schema()["properties"]["spec"]["properties"]["networks"]["properties"]["nodes"]
    assert [kind["type"] for kind in nodes["anyOf"]] == ["string", "array"]
    routers = schema()["properties"]["spec"]["properties"]["routers"]
    assert routers["items"]["required"] == ["name", "addresses"]


NODE3 = "{name: node3, address: 192.168.60.24}"
LEGS = "[192.168.59.1, 192.168.60.1]"
WRONG = [
    ("60.24}", "61.24}",
     ["9:28: the address 192.168.61.24 of node3 is in none of the subnets 192.168.59.0/24 and 192.168.60.0/24"]),
    ("60.24}", "60.1}", ["11:46: router cannot have the address 192.168.60.1; another machine has it (see line 9)"]),
    ("60.24}", "60.255}", ["9:28: node3 cannot have the address 192.168.60.255; it is the broadcast address"]),
    ("192.168.60.0/24]", "192.168.59.128/25]",
     ["5:39: the subnets 192.168.59.0/24 and 192.168.59.128/25 of the node network overlap",
      "9:28: the address 192.168.60.24 of node3 is in none of the subnets 192.168.59.0/24 and 192.168.59.128/25",
      "11:46: the address 192.168.60.1 of router is in none of the subnets 192.168.59.0/24 and 192.168.59.128/25",
      "13:29: the address 192.168.60.10 of client is in none of the subnets 192.168.59.0/24 and 192.168.59.128/25"]),
    ("192.168.60.0/24]", "20.96.0.0/24]",
     ["5:13: the networks nodes (20.96.0.0/24) and pods (20.96.0.0/12) overlap",
      "9:28: the address 192.168.60.24 of node3 is in none of the subnets 192.168.59.0/24 and 20.96.0.0/24",
      "11:46: the address 192.168.60.1 of router is in none of the subnets 192.168.59.0/24 and 20.96.0.0/24",
      "13:29: the address 192.168.60.10 of client is in none of the subnets 192.168.59.0/24 and 20.96.0.0/24"]),
    ("192.168.60.0/24]", "192.168.60.0/24, 192.168.61.0/24]",
     ["5:56: no router joins 192.168.61.0/24 to 192.168.59.0/24; add one with an address in each (spec.routers)"]),
    ("  routers:\n  - {name: router, addresses: " + LEGS + "}\n", "",
     ["5:39: no router joins 192.168.60.0/24 to 192.168.59.0/24; add one with an address in each (spec.routers)"]),
    (LEGS, "[192.168.59.1]",
     ["5:39: no router joins 192.168.60.0/24 to 192.168.59.0/24; add one with an address in each (spec.routers)",
      "11:31: router has one address; a router has one in each of two subnets or more"]),
    (LEGS, "[]",
     ["5:39: no router joins 192.168.60.0/24 to 192.168.59.0/24; add one with an address in each (spec.routers)",
      "11:31: router has no address; a router has one in each of two subnets or more"]),
    ("60.1]", "60.1, 192.168.60.2]",
     ["11:60: router has two addresses in 192.168.60.0/24; one in each subnet is enough"]),
    ("60.1]", "60.1x]", ["11:46: spec.routers[0].addresses[1]: 192.168.60.1x is not an IPv4 address"]),
    ("192.168.60.0/24]", "10.9.0.1/24]",
     ["5:39: spec.networks.nodes[1]: 10.9.0.1/24 is an address in a network, and the network itself is 10.9.0.0/24"
      ]),
    ("{name: router,", "{name: node1,",
     ["11:12: a router cannot be called node1; another host has that name (see line 8)"]),
    ("{name: router,", "{name: pod-a,",
     ["17:18: a pod cannot be called pod-a; another host has that name (see line 11)"]),
    ("{name: router,", "{name: switch,",
     ["11:12: a router cannot be called switch; nslab has a host of that name itself"]),
    ("60.1]}", "60.1], bgp: 1}", ["11:66: spec.routers[0].bgp must be true or false, and this is a number (1)"]),
    ("{plugin: calico}", "{plugin: kubenet}",
     ["5:21: routes of plugin: kubenet go from node to node, which must share a subnet; use plugin: calico"]),
    ("[192.168.59.0/24, 192.168.60.0/24]", "[]", ["5:21: spec.networks.nodes is empty; it needs at least 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "problems"), WRONG)
def test_what_is_wrong_is_told_with_its_place(old: str, new: str, problems: list[str]) -> None:
    assert GOOD.count(old) == 1, old
    with pytest.raises(LabFileError) as refused:
        parse(GOOD.replace(old, new), "lab.yaml")
    assert [f"{one.position.line}:{one.position.column}: {one.sentence}" for one in refused.value.errors] == problems


def test_routers_between_are_counted() -> None:
    r1, r2 = ([net[1] for net in nets] for nets in ((A, B), (B, C)))
    assert distances((A, B, C, D), (r1, r2), C) == {C: 0, B: 1, A: 2}
