"""The model of a lab's picture, and its renderers as text, Mermaid and dot."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING

import pytest

from nslab.compiler import compile_lab
from nslab.lab.find import names
from nslab.linux.observe.host import likely_host
from nslab.objects.base import Add, Remove, Replace
from nslab.objects.inet import Address
from nslab.objects.links import Veth
from nslab.objects.names import netns
from nslab.objects.namespaces import Netns
from nslab.objects.routes import Route
from nslab.quote import visible
from nslab.views.graph.build import graph, with_differences
from nslab.views.graph.dot import dot
from nslab.views.graph.mermaid import mermaid
from nslab.views.graph.model import BRIDGE, TUNNELS, Graph, Role
from nslab.views.graph.text import text
from tests.unit.views.drawn import HOSTILE, hostile, lab, shipped

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.objects.base import Step

PICTURE = """\
calico-cross-subnet: calico, IPIPCrossSubnet; 3 nodes, 4 pods, 2 Services, 1 client, 1 router

switch  br0
├─ node1  eth0 192.168.59.22/24
│  ├─ cali2f5353dd8c5 ── pod-b  eth0 20.111.156.7/32
│  ├─ calie88da174fa4 ── kube-system/kube-dns  eth0 20.111.156.1/32
│  └─ tunl0 (KIND) 20.111.156.0/32
├─ node2  eth0 192.168.59.23/24
│  ├─ calid6b219bf875 ── pod-d  eth0 20.109.131.3/32
│  └─ tunl0 (KIND) 20.109.131.0/32
└─ router  eth0 192.168.59.1/24   router
switch  br1
├─ node3  eth0 192.168.60.24/24
│  ├─ cali643cc6c9c49 ── pod-e  eth0 20.108.66.68/32
│  └─ tunl0 (KIND) 20.108.66.64/32
├─ client  eth0 192.168.60.10/24   client
└─ router  eth1 192.168.60.1/24   router

Services (iptables mode)
  svc-b                 10.103.9.116:8080, node port 31080  -> pod-b
  kube-system/kube-dns  10.96.0.10:53/UDP                   -> kube-system/kube-dns
  kube-system/kube-dns  10.96.0.10:53                       -> kube-system/kube-dns
"""
MERMAID = """\
flowchart TB
  accTitle: pause-pod: calico, no encapsulation, 1 node, 1 pod
  subgraph b0["switch"]
    i0["br0<br/>192.168.59.1/24"]
  end
  subgraph b1["node1"]
    subgraph b2["pod-1"]
      i4["eth0<br/>20.111.156.66/32"]
    end
    i1["eth0<br/>192.168.59.22/24"]
    i2["cali83dbd022cd5"]
    i3(["router"])
  end
  i0 --- i1
  i2 --- i4
  i1 --- i3
  i2 --- i3
"""


def test_the_tree_of_two_subnets() -> None:
    drawn = shipped("calico-cross-subnet").graph
    (kind,) = {one.kind for box in drawn.boxes for one in box.of_kind(*TUNNELS)}  # as this machine has it
    assert text(drawn) == PICTURE.replace("KIND", kind)


def test_ports_of_a_bridge_stand_below_it() -> None:
    assert text(shipped("kubenet-two-node").graph).splitlines()[3:8] == [
        "├─ node1  eth0 192.168.59.22/24",
        "│  └─ cbr0 20.96.1.1/24",
        "│     ├─ vetha5717384 ── pod-a  eth0 20.96.1.2/24",
        "│     ├─ veth4da4b63a ── pod-b  eth0 20.96.1.3/24",
        "│     └─ veth2f404e6a ── kube-system/kube-dns  eth0 20.96.1.4/24",
    ]


def test_pods_without_a_network_are_there() -> None:
    assert "│  ├─ pod-a\n│  └─ pod-b\n" in text(shipped("by-hand-cni").graph)


@pytest.mark.parametrize("name", names())
def test_every_host_and_every_address_is_in_each_picture(name: str) -> None:
    """But not the process of the lab itself, which has no network."""
    own = lab(name)
    state = compile_lab(own, likely_host())
    drawn = graph(own, state)
    assert {box.host for box in drawn.boxes} == {obj.host for obj in state if isinstance(obj, Netns)} - {"control"}
    assert {*(end for cable in drawn.cables for end in cable)} >= {
        (obj.host, obj.name) for obj in state if isinstance(obj, Veth)
    }
    for render in (text, mermaid, dot):
        shown = render(drawn)
        assert [box.name for box in drawn.boxes if box.name not in shown] == []
        addresses = [str(obj.address) for obj in state if isinstance(obj, Address)]
        assert [address for address in addresses if address not in shown] == []


def test_a_chart_of_mermaid() -> None:
    assert mermaid(shipped("pause-pod").graph) == MERMAID


# Grammars: each line, or token, of a rendered file must be one of these.

WORDS = r'(?:[^"#\n\\<>\[\]{}|;]|#\d+;)*'
LINES = (
    r"flowchart TB",
    r"  accTitle: [^\n;{}%#]*",
    rf' +subgraph b\d+\["{WORDS}"\]',
    r" +end",
    rf' +i\d+\["{WORDS}(?:<br/>{WORDS})*"\]',
    r' +i\d+\(\["(?:router| )"\]\)',
    r"  i\d+ --- i\d+",
    r"  classDef differs stroke:#c00,stroke-width:3px",
    r"  class [ib]\d+(?:,[ib]\d+)* differs",
    r"  %% [^\n;{}%#]*",
)
STRING = r'"(?:[^"\\\n]|\\n|\\\\|\\")*"'
STATEMENTS = (
    rf"(?:graph|node|edge) \[(?:\w+=(?:\w+|{STRING})(?:, )?)+\]",
    rf"label={STRING}(?:; color=\w+; tooltip={STRING})?",
    r"subgraph cluster_b\d+ \{",
    rf"i\d+ \[label={STRING}(?:, \w+=(?:\w+|{STRING}))*\]",
    r"i\d+ -- i\d+",
    r"\}",
)


def whole(shown: str, grammar: tuple[str, ...]) -> list[str]:
    """The lines that are not of a grammar."""
    return [line for line in shown.splitlines() if not any(re.fullmatch(one, line) for one in grammar)]


@pytest.fixture(scope="module")
def pictures() -> list[Graph]:
    return [hostile(), *(shipped(name).graph for name in ("calico-two-node", "services-ipvs", "by-hand-cni"))]


def test_mermaid_is_mermaid_whatever_the_names(pictures: list[Graph]) -> None:
    for drawn in pictures:
        shown = mermaid(drawn)
        assert whole(shown, LINES) == []
        begun, ended = (len(re.findall(rf"^ +{word}\b", shown, re.MULTILINE)) for word in ("subgraph", "end"))
        assert begun == ended == len(drawn.boxes)
        assert_joined(shown, r"^ +(i\d+)[\[(]", r"^  (i\d+) --- (i\d+)$")


def test_dot_is_dot_whatever_the_names(pictures: list[Graph]) -> None:
    for drawn in pictures:
        first, *middle, last = dot(drawn).splitlines()
        assert (first, last) == ("graph {", "}")
        assert whole("\n".join(line.strip() for line in middle), STATEMENTS) == []
        assert sum(line.endswith("{") for line in middle) == sum(line.strip() == "}" for line in middle)
        assert_joined(dot(drawn), r"^ +(i\d+) \[", r"^  (i\d+) -- (i\d+)$")


def assert_joined(shown: str, nodes: str, edges: str) -> None:
    """Each end of an edge is a node that is declared once."""
    declared = re.findall(nodes, shown, re.MULTILINE)
    assert len({*declared}) == len(declared)
    assert {end for edge in re.findall(edges, shown, re.MULTILINE) for end in edge} <= {*declared}


@pytest.mark.parametrize("render", [text, mermaid, dot])
def test_a_terminal_obeys_nothing_of_it(render: Callable[[Graph], str]) -> None:
    shown = render(hostile())
    assert visible(shown) == shown


# What differs


def differing(*steps: Step, unmanaged: str = "") -> Graph:
    own = lab("calico-two-node")
    state = compile_lab(own, likely_host())
    foreign = {netns(own.name, "node2"): [unmanaged]} if unmanaged else {}
    return with_differences(graph(own, state), own, steps, foreign)


def test_what_differs_is_marked_where_it_is() -> None:
    ns = netns("calico-two-node", "node1")
    route = Route(ns, IPv4Network("20.109.131.0/26"), "tunl0", by="BIRD")
    drawn = differing(Add(route), unmanaged="a rule")
    (there,) = drawn.marks("node1")
    assert there == "node1 has no route to 20.109.131.0/26 (BIRD's): the way to the pods of node2"
    assert (drawn.marks("node1", "tunl0"), drawn.marks("node1", ""), drawn.marks("node1", "eth0")) == ([there], [], [])
    assert drawn.marks("node2", "") == ["node2 has something that is not the lab's: a rule"]
    lines = text(drawn).splitlines()
    assert [line.endswith("(!)") for line in lines if "tunl0" in line and "node1" not in line] == [True, False]
    assert lines[-3:] == ["not as it should be (!)", f"  {there}", f"  {drawn.marks('node2')[0]}"]
    assert sum("color=red" in line for line in dot(drawn).splitlines()) == 2
    assert re.search(r"^  class b\d+,i\d+ differs$", mermaid(drawn), re.MULTILINE)


def test_a_host_that_is_not_there_is_marked() -> None:
    drawn = differing(Add(Netns(netns("calico-two-node", "pod-a"))))
    assert drawn.marks("pod-a", "") == ["there is no pod-a"]
    assert "── pod-a  (!)  eth0" in text(drawn)


def test_a_cable_is_marked_at_its_end() -> None:
    state = compile_lab(lab("calico-two-node"), likely_host())
    veth = next(obj for obj in state if isinstance(obj, Veth) and obj.peer_ns.endswith(".pod-b"))
    assert differing(Remove(veth)).marks("node1", veth.name) != []


def test_a_lab_as_it_should_be_says_so() -> None:
    assert text(differing()).endswith("\n\ncalico-two-node is as it should be\n")
    assert "should be" not in text(shipped("calico-two-node").graph)


def test_a_change_in_place_is_marked_once() -> None:
    state = compile_lab(lab("calico-two-node"), likely_host())
    tunnel = next(obj for obj in state if getattr(obj, "driver", "") in TUNNELS and obj.host == "node2")
    drawn = differing(Replace(tunnel, tunnel))
    assert [(one.host, one.dev) for one in drawn.findings or ()] == [("node2", "tunl0")]


def test_a_picture_knows_what_lies_inside() -> None:
    boxes = {box.host: box for box in shipped("kubenet-two-node").graph.boxes}
    node, pod = boxes["node1"], boxes["pod-a"]
    assert {*node.inside()} == {("eth0", ""), ("cbr0", ""), *((f"veth{one}", "cbr0") for one in
                                                              ("a5717384", "4da4b63a", "2f404e6a"))}  # fmt: skip
    assert [*pod.inside()] == []
    assert (node.role, pod.role, pod.node) == (Role.NODE, Role.POD, "node1")
    assert [one.name for one in node.of_kind(BRIDGE)] == ["cbr0"]
    assert HOSTILE not in text(shipped("kubenet-two-node").graph)
